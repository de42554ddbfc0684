"""The passages of an evaluation with gold entities beside predicted ones, for a browser."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..extraction.review import write_review
from ..tasks.scoring import Counts, Verdict, judge

Run = tuple[str, str, str]  # model, benchmark, setting
Judged = tuple[str, str, list[Verdict]]  # id of a passage, its text, and verdicts

MOST = 200  # passages of each run
MENTIONS = 200  # of a passage: an answer may hold a million
PLACES = 10  # of a mention
LONGEST = 200  # characters of a mention that is not in the text
LARGEST = 20_000_000  # characters of a page


def judge_passages(
    rows: Iterable[Mapping],
    texts: Mapping[str, Mapping[str, str]],
    judge: Callable[[Sequence[Mapping], str], list[Verdict]] = judge,
) -> Iterator[tuple[Run, list[Judged]]]:
    """The passages of each run that have gold or predicted entities, the worst ones first, by span F1.

    Args:
        rows: the rows of predictions.jsonl.
        texts: benchmark -> passage id -> text.
        judge: of the task's metric.
    """
    runs = defaultdict(lambda: defaultdict(list))
    for row in rows:
        runs[row["model"], row["benchmark"], row["setting"]][row["passage_id"]].append(row)
    for run, passages in runs.items():
        judged = [(id_, texts[run[1]][id_], judge(group, texts[run[1]][id_])) for id_, group in passages.items()]
        yield run, sorted((entry for entry in judged if entry[2]), key=lambda entry: _rank(entry[2]))


def _rank(verdicts: Sequence[Verdict]) -> tuple[float, int]:
    """By F1; among equals, more errors are worse and more found entities are better."""
    found = sum(verdict.counts.tp for verdict in verdicts)
    return passage_f1(verdicts), found or -len(verdicts)


def passage_f1(verdicts: Sequence[Verdict]) -> float:
    counts = sum((verdict.counts for verdict in verdicts), Counts())
    return 2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn)


def outcome(verdict: Verdict) -> str:
    """The outcome in words. Of an error they say whether the mention is a gold entity."""
    words = verdict.outcome.replace("_", " ")
    return f"{words} (gold)" if verdict.is_gold and verdict.outcome != "found" else words


def shown(verdicts: Sequence[Verdict]) -> tuple[list[Verdict], int]:
    """The verdicts that a page shows, gold entities first, and how many it leaves out."""
    kept = sorted(verdicts, key=lambda verdict: not verdict.is_gold)[:MENTIONS]
    cut = [replace(v, spans=v.spans[:PLACES], mention=v.mention if v.spans else v.mention[:LONGEST]) for v in kept]
    return cut, len(verdicts) - len(cut)


def write_passages(name: str, judged: Iterable[tuple[Run, list[Judged]]], file: Path) -> None:
    """Write the review page of the worst passages of each run. Its filters are the kinds of errors."""
    rows, room, left_out, passages_left_out = [], LARGEST, 0, 0
    for run, (id_, text, verdicts) in ((run, entry) for run, passages in judged for entry in passages[:MOST]):
        kept, more = shown(verdicts)
        row = _row(run, id_, text, verdicts, kept)
        room -= len(json.dumps(row, ensure_ascii=False))
        if room >= 0:
            rows.append(row)
            left_out += more
        else:
            passages_left_out += 1
    facts = {"evaluation": name, "passages": f"of each model, benchmark and setting the {MOST} worst, by span F1"}
    if left_out or passages_left_out:
        facts["not shown"] = (
            f"{left_out:,} mentions, of passages with more than {MENTIONS}; {passages_left_out:,} passages, because "
            "the page would be too large; predictions.jsonl holds all"
        )
    write_review(rows, file, [], facts)


def _row(run: Run, id_: str, text: str, verdicts: Sequence[Verdict], kept: Sequence[Verdict]) -> dict:
    """A passage as a result of extraction, with the outcomes of those of its mentions that are kept as types."""
    entities, unaligned, unparsed = [], [], []
    for verdict in kept:
        if verdict.outcome == "unparsed" and not verdict.is_gold:
            unparsed.append(verdict.type)
            continue
        mention = {"text": verdict.mention, "type": outcome(verdict), "label": f"{verdict.type}: {outcome(verdict)}"}
        entities += [{**mention, "start": start, "end": end, "score": None} for start, end in verdict.spans]
        if not verdict.spans:
            unaligned.append({"text": verdict.mention, "type": mention["label"]})
    return {
        "id": f"{' '.join(run)} {id_}, F1 {100 * passage_f1(verdicts):.1f}",
        "text": text,
        "entities": entities,
        "examples_used": [],
        "windows": [],
        "unaligned": unaligned,
        "copied": [],
        "unparsed": unparsed,
    }
