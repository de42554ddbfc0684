"""The page of passages: gold entities beside predicted ones, by kind of error."""

import time

from test_report import CONFIG, FACTS, FITTING, TEXT, evaluation
from test_review import data

from ra_ner.evaluation.passages import judge_passages, write_passages
from ra_ner.evaluation.report import report_html
from ra_ner.tasks.scoring import score_all


def test_gold_beside_predicted_entities_by_kind_of_error(tmp_path):
    _, rows, texts = evaluation()
    write_passages("mine", judge_passages(rows, texts), tmp_path / "passages.html")
    base, tuned = data(tmp_path / "passages.html", "rows")

    def marks(row):
        assert all(TEXT[e["start"] : e["end"]] == e["text"] for e in row["entities"])
        return sorted((e["text"], e["type"], e["label"]) for e in row["entities"])

    assert tuned["id"] == "tuned one zero_shot p1, F1 85.7"
    assert marks(tuned) == [
        (m, "found", f"{t}: found") for m, t in (("Ada Lovelace", "person"), ("Basel", "city"), ("Bob", "person"))
    ]
    assert tuned["unaligned"] == [{"text": "Bern", "type": "city: hallucinated"}] and not tuned["unparsed"]
    assert base["unparsed"] == ["person"] and ("Bob", "wrong type", "city: wrong type") in marks(base)
    assert ("Basel", "missed (gold)", "city: missed (gold)") in marks(base)


def test_an_evaluation_writes_the_page(here):
    page = here / "outputs" / "quickstart" / "evaluation" / "passages.html"
    assert {row["text"] for row in data(page, "rows")} and "quickstart" in page.read_text(encoding="utf-8")


def test_an_answer_of_thousands_of_mentions_makes_no_large_page_and_takes_no_long_time(tmp_path):
    gold, wrong = ([f"{letter}{number:05}" for number in range(20_000)] for letter in "gw")
    gold = gold[:2000]
    text = " ".join([*gold, *wrong[:5000]])
    entities = [{"text": m, "type": "person", "start": 7 * i, "end": 7 * i + 6} for i, m in enumerate(gold)]
    row = {"model": "m", "benchmark": "b", "setting": "zero_shot", "passage_id": "p", "type": "person"}
    row |= {"revision": "r", "gold": entities, "raw_answer": "", "parsed": True, "copied": []}
    row["predicted"] = [*wrong, gold[0], "x" * 5_000_000]
    begun = time.monotonic()
    judged = list(judge_passages([row], {"b": {"p": text}}))
    assert time.monotonic() - begun < 3
    write_passages("mine", judged, tmp_path / "passages.html")
    page = report_html({**FACTS, "config": CONFIG, "counts": FITTING, **score_all([], {})}, judged)
    assert (tmp_path / "passages.html").stat().st_size < 500_000 and len(page) < 500_000
    assert "21,801 mentions, of passages with more than 200" in (tmp_path / "passages.html").read_text()
    assert "not shown: 21,801 more mentions" in page
    (shown,) = data(tmp_path / "passages.html", "rows")
    assert {("g00000", "found"), ("g00001", "missed (gold)")} <= {(e["text"], e["type"]) for e in shown["entities"]}


def test_passages_that_do_not_fit_on_the_page_are_counted(tmp_path, monkeypatch):
    _, rows, texts = evaluation()
    monkeypatch.setattr("ra_ner.evaluation.passages.LARGEST", 700)
    write_passages("mine", judge_passages(rows, texts), tmp_path / "passages.html")
    assert len(data(tmp_path / "passages.html", "rows")) == 1
    assert "1 passages, because the page would be too large" in (tmp_path / "passages.html").read_text()
