"""Corpora in the forms that others publish them in, from a file or the Hub, read into passages.

Whatever the form, a source is first a list of rows; the form is then found by looking at the rows, and its reader turns
each row into one of our own corpus.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet
from datasets import ClassLabel, Dataset
from datasets.exceptions import DatasetsError
from huggingface_hub import HfApi, hf_hub_download

from .answers import parse_answer
from .corpus import Passage, read_corpus, to_passage
from .errors import UserError
from .hub import hub_errors, load_dataset_at

LOOKED_AT = 100  # rows or lines by which a form is told
SHOWN = 3  # malformed rows that are printed
PARQUET_COPY = "refs/convert/parquet"  # the branch where the Hub keeps what it made of a loading script
_IN_PARQUET_COPY = re.compile(r"[^/]+/[^/]+/\d+\.parquet")

# The datasets of tner have `tags`, numbers that this file of theirs names.
TAG_COLUMNS = ("ner_tags", "tags")
LABEL_FILE = "dataset/label.json"

SKIPPED = "malformed rows skipped"
NOT_FOUND = "mentions not found in the text"
WRONG_OFFSETS = "offsets that do not fit the text"

Row = dict  # one JSON object


@dataclass(frozen=True)
class Source:
    """What was read: the passages, the commit and the licence if the Hub knows them, and how often what was amiss."""

    passages: list[Passage]
    commit: str | None
    counts: dict[str, int]
    licence: str | None = None


def read_source(
    source: str, language: str, split: str = "train", revision: str | None = None, config: str | None = None
) -> Source:
    """Read a file, or a split of a Hub dataset or of one of its configs, at a revision; `FORMATS` says in which forms.

    Malformed rows are skipped, the first of them shown. A mention that is not in its text has no offsets. Ids are those
    of the source if every row has its own, else made of the source's name and the row's number, from 0.

    Raises:
        UserError: the source can't be read, is in no known form, or holds no passage or no entity.
    """
    path, commit, licence = Path(source), None, None
    if path.is_dir():
        raise UserError(f"{source} is a folder; name a file in it")
    if path.is_file():
        rows, stem = _read_file(path), path.stem
    else:
        dataset, commit, licence = _load_from_hub(source, split, revision, config)
        rows, stem = _dataset_rows(dataset, source), f"{source.rpartition('/')[2]}-{split}"
    if not rows:
        raise UserError(f"{source}: it is empty; a corpus with at least one passage is needed")
    form = _recognise(rows, source)
    if form is CORPUS and commit is None and path.suffix == ".jsonl":
        return Source(read_corpus(path), None, {})
    counts: Counter[str] = Counter()
    passages = list(_read_rows(rows, form, language, source, stem, counts))
    if not passages:
        raise UserError(f"{source}: none of its {len(rows)} rows is a good {form.name} row; see those printed above")
    if not any(passage.entities for passage in passages):
        raise UserError(f"{source}: no entities in any passage, so there is nothing to learn or to score")
    return Source(passages, commit, dict(counts), licence)


def _read_rows(
    rows: list[object], form: "Format", language: str, source: str, stem: str, counts: Counter[str]
) -> Iterator[Passage]:
    for number, (row, id_) in enumerate(zip(rows, _ids(rows, stem), strict=True), 1):
        amiss: Counter[str] = Counter()
        try:
            passage = to_passage({"id": id_, **form.read(row, language, amiss)})
        except UserError as error:
            raise UserError(f"{source}: row {number}: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            counts[SKIPPED] += 1
            if counts[SKIPPED] <= SHOWN:
                # Only a ValueError has words; the others say that the row is built otherwise.
                reason = error if type(error) is ValueError else f"unlike {form.name} ({error!r})"
                print(f"{source}: row {number} skipped: {reason}")
        else:
            counts.update(amiss)
            yield passage


def _ids(rows: list[object], stem: str) -> list[str]:
    ids = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str | int)]
    unique = list(dict.fromkeys(map(str, ids)))
    return unique if len(unique) == len(rows) else [f"{stem}-{number}" for number in range(len(rows))]


# --- from a source to rows


def _read_file(path: Path) -> list[object]:
    try:
        if path.suffix == ".parquet":
            return _dataset_rows(Dataset(pyarrow.parquet.read_table(path)))  # load_dataset would cache by name
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise UserError(f"{path}: can't be read ({error}); save it as UTF-8 text or as Parquet") from None
    if not text.strip():
        return []
    # A tagged file may begin with a bracket too, as a token.
    if re.match(r"\s*(\[\s*)?\{\s*[\"}]", text):
        return _json_rows(text, path)
    lines = text.split("\n")
    if any(_TAG.fullmatch(_columns(line)[-1]) for line in lines[:LOOKED_AT]):
        return list(_tagged_rows(lines, path))
    raise _unknown(str(path))


def _json_rows(text: str, path: Path) -> list[object]:
    """The objects of a JSON array, or of JSON Lines."""
    is_array = text.lstrip().startswith("[")
    documents = [text] if is_array else text.split("\n")  # not splitlines: a string may hold U+2028
    rows = []
    for number, document in enumerate(documents, 1):
        if document.strip():
            try:
                rows.append(json.loads(document))
            except (ValueError, RecursionError) as error:
                line, reason = number + getattr(error, "lineno", 1) - 1, getattr(error, "msg", error)
                raise UserError(
                    f"{path}: line {line}: not JSON ({reason}); a JSON array or an object a line is needed"
                ) from None
    return rows[0] if is_array else rows


def _tagged_rows(lines: list[str], path: Path) -> Iterator[Row]:
    """Sentences of a file with a token first and its tag last on each line, parted by blank lines."""
    tokens: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*lines, ""], 1):
        if line.strip() and not line.startswith("-DOCSTART-"):
            columns = _columns(line)
            if len(columns) < 2 or (not columns[0] and any(columns[1:-1])):
                raise UserError(f"{path}: line {number}: a line is a token, white space, and the token's tag")
            try:
                _split_tag(columns[-1])
            except UserError as error:
                raise UserError(f"{path}: line {number}: {error}") from None
            tokens.append(columns[0] or " ")  # the token of a line such as "  O" is a blank
            tags.append(columns[-1])
        elif tokens:
            yield {"tokens": tokens, "ner_tags": tags}
            tokens, tags = [], []


def _columns(line: str) -> list[str]:
    """The columns of a line; white space other than tabs and blanks may be a token."""
    line = line.rstrip(" \t")
    return line.split("\t" if "\t" in line else " ")


def _dataset_rows(dataset: Dataset, hub_id: str | None = None) -> list[object]:
    """The rows of a dataset, with label names in the place of their numbers."""
    rows = dataset.to_list()
    for column in TAG_COLUMNS:
        label = getattr(dataset.features.get(column), "feature", None)
        names = {}
        if isinstance(label, ClassLabel):
            names = dict(enumerate(label.names))
        elif hub_id and label and label.dtype.startswith("int"):
            names = _label_file(hub_id)
        if names:
            for row in rows:
                row[column] = [names.get(tag, tag) for tag in row[column] or []]
    return rows


def _load_from_hub(
    source: str, split: str, revision: str | None, config: str | None
) -> tuple[Dataset, str, str | None]:
    """A split of a Hub dataset, the commit it was read at, and the licence that its card names."""
    with hub_errors(f"{source!r} is no file here, and as a dataset of the Hub it can't be read"):
        info = HfApi().dataset_info(source, revision=revision)
    licence = info.card_data.license if info.card_data else None
    files = [sibling.rfilename for sibling in info.siblings or []]
    if f"{source.rpartition('/')[2]}.py" in files:
        if revision:
            raise UserError(
                f"dataset {source!r} is a loading script at {revision}, which is not run; name no revision, to read "
                "the Hub's Parquet copy"
            )
        with hub_errors(f"dataset {source!r} is a loading script, and its Parquet copy {PARQUET_COPY} can't be read"):
            info = HfApi().dataset_info(source, revision=PARQUET_COPY)
        files = [sibling.rfilename for sibling in info.siblings or []]
    files = [file for file in files if file != ".gitattributes"]
    if files and all(map(_IN_PARQUET_COPY.fullmatch, files)):
        return _read_parquet_copy(source, info.sha, files, split, config), info.sha, licence
    return _load_split(source, split, info.sha, config), info.sha, licence


def _label_file(source: str) -> dict[int, str]:
    """The names of tags by their numbers, from the file where the datasets of tner have them; empty if there is none.

    It is read from the main branch: the Hub's Parquet copy does not have it.
    """
    with hub_errors(f"{LABEL_FILE} of dataset {source!r} can't be read"):
        if not HfApi().file_exists(source, LABEL_FILE, repo_type="dataset"):
            return {}
        file = hf_hub_download(source, LABEL_FILE, repo_type="dataset")
    try:
        return {number: name for name, number in json.loads(Path(file).read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError):
        raise UserError(f"{LABEL_FILE} of dataset {source!r} is no JSON object of names and their numbers") from None


def _load_split(source: str, split: str, commit: str, config: str | None) -> Dataset:
    try:
        return load_dataset_at(source, commit, config, split)
    except (DatasetsError, FileNotFoundError, ValueError) as error:  # no such split, several configs, broken files
        reason = " ".join(str(error.__cause__ or error).split())
        raise UserError(
            f"split {split!r} of dataset {source!r} can't be read ({reason}); name another split or config, or "
            "download a file of it and name that"
        ) from None


def _read_parquet_copy(source: str, commit: str, files: list[str], split: str, config: str | None) -> Dataset:
    """A split from files called config/split/0000.parquet; load_dataset would put all configs together."""
    configs = sorted({file.split("/")[0] for file in files if "/" in file})
    if config is None and len(configs) > 1:
        raise UserError(f"dataset {source!r} has several configs; choose one of {', '.join(configs)}")
    wanted = sorted(file for file in files if file.startswith(f"{config or configs[0]}/{split}/"))
    if not wanted:
        splits = sorted({"/".join(file.split("/")[:2]) for file in files if "/" in file})
        raise UserError(f"dataset {source!r} has no {config or configs[0]}/{split}, only {', '.join(splits)}")
    with hub_errors(f"dataset {source!r} can't be read"):
        paths = [hf_hub_download(source, file, repo_type="dataset", revision=commit) for file in wanted]
    return Dataset(pyarrow.concat_tables([pyarrow.parquet.read_table(path) for path in paths]))


# --- from a row to a passage: a reader returns `text` and `entities` as in our corpus, and adds to the counts


def _read_own(row: Row, language: str, counts: Counter[str]) -> Row:
    return {"text": row["text"], "entities": row["entities"]}


_TEXT_TURN = re.compile(r"\s*(?:Text|文本)\s*[:：] ?(.*\S.*)", re.DOTALL)  # the text's own white space stays
_QUESTION = re.compile(
    r"\s*(?:What describes (?P<en>.+) in the text\?|文本中属于[\"“”](?P<zh>.+)[\"“”]的实体有哪些[？?])\s*", re.DOTALL
)


def _read_conversation(row: Row, language: str, counts: Counter[str]) -> Row:
    """Turns: examples (if any), the text, an acknowledgement, then a question and its answer for each type."""
    turns = [turn["value"] for turn in row["conversations"]]
    number, text = next(((i, match[1]) for i, turn in enumerate(turns) if (match := _TEXT_TURN.match(turn))), (0, ""))
    if not text:
        raise ValueError("no turn begins with 'Text:' or '文本：'")
    questions, answers = turns[number + 2 :: 2], turns[number + 3 :: 2]
    if len(questions) != len(answers):
        raise ValueError("the last question has no answer")
    entities = []
    for question, raw in zip(questions, answers, strict=True):
        match, answer = _QUESTION.fullmatch(question), parse_answer(raw)
        if match is None:
            raise ValueError(f"no question for an entity type: {question[:60]!r}")
        if answer.error:
            raise ValueError(f"answer {raw[:60]!r} can't be read: {answer.error}")
        for mention in answer.mentions:
            entities += _locate(mention, match["en"] or match["zh"], text, counts)
    return {"text": text, "entities": entities}


def _locate(mention: str, type_: str, text: str, counts: Counter[str]) -> list[Row]:
    """An entity for each occurrence of a mention; those inside a longer word only if there are no others."""
    starts = (mention.isascii() and _occurrences(mention, text, whole_words=True)) or _occurrences(mention, text)
    if not starts:
        counts[NOT_FOUND] += 1
        return [_entity(mention, type_)]
    return [_entity(mention, type_, start, start + len(mention)) for start in starts]


def _occurrences(mention: str, text: str, whole_words: bool = False) -> list[int]:
    """Where a mention starts, from left to right, none overlapping the one before."""
    if not mention:
        raise ValueError("an answer holds an empty mention")
    starts = []
    position = text.find(mention)
    while position >= 0:
        end = position + len(mention)
        if whole_words and (_is_letter(text[position - 1 : position]) or _is_letter(text[end : end + 1])):
            end = position + 1
        else:
            starts.append(position)
        position = text.find(mention, end)
    return starts


def _is_letter(character: str) -> bool:
    """Whether it is part of a word; from U+2E80 on are the scripts of East Asia, which put no space between words."""
    return character.isalnum() and character < "\u2e80"


def _read_tags(row: Row, language: str, counts: Counter[str]) -> Row:
    """Tokens and a tag for each, in any of IOB1, BIO, BIOES, BILOU and BMES: one rule reads them all.

    An entity begins at a tag B, S or U, and at any other that does not continue one of its type; it ends after E, L,
    S or U.
    """
    tokens, tags = row["tokens"], row[next(column for column in TAG_COLUMNS if column in row)]
    if len(tokens) != len(tags):
        raise ValueError(f"{len(tokens)} tokens, but {len(tags)} tags")
    space = "" if language == "zh" else " "
    text = space.join(tokens)
    spans: list[tuple[int, int, str]] = []
    position, open_type = 0, None
    for token, tag in zip(tokens, tags, strict=True):
        prefix, type_ = _split_tag(tag)
        end = position + len(token)
        if type_ and (prefix in "BSU" or type_ != open_type):
            spans.append((position, end, type_))
        elif type_:
            spans[-1] = (spans[-1][0], end, type_)
        open_type = None if prefix in "ELSU" else type_
        position = end + len(space)
    return {"text": text, "entities": [_entity(text[start:end], type_, start, end) for start, end, type_ in spans]}


_TAG = re.compile(r"O|[BIMELSU]-.+")


def _split_tag(tag: object) -> tuple[str, str | None]:
    """The prefix and the type of a tag; the type of O is None."""
    if isinstance(tag, int):
        raise UserError(f"tag {tag} is a number without a name; the tags must be strings or a ClassLabel with names")
    if tag == "O":
        return "O", None
    if not _TAG.fullmatch(tag):
        raise UserError(f"tag {tag!r} is neither O nor a prefix and a type, such as B-person")
    return tag[0], tag[2:]


def _read_cluener(row: Row, language: str, counts: Counter[str]) -> Row:
    text, entities = row["text"], []
    for type_, mentions in row["label"].items():
        # Arrow gives each row the keys of all, with None where there was nothing.
        for mention, spans in (mentions or {}).items():
            entities += [_check(mention, type_, text, start, [end + 1], counts) for start, end in spans or []]
    return {"text": text, "entities": entities}


def _read_cmeee(row: Row, language: str, counts: Counter[str]) -> Row:
    text = row["text"]
    entities = [
        # The end is inclusive in most releases; the mention tells.
        _check(e["entity"], e["type"], text, e["start_idx"], [e["end_idx"] + 1, e["end_idx"]], counts)
        for e in row["entities"]
    ]
    return {"text": text, "entities": entities}


def _check(mention: str, type_: str, text: str, start: int, ends: list[int], counts: Counter[str]) -> Row:
    """An entity with the first of the ends that slices to the mention, without offsets if none does."""
    for end in ends:
        if text[start:end] == mention:
            return _entity(mention, type_, start, end)
    counts[WRONG_OFFSETS] += 1
    return _entity(mention, type_)


def _entity(mention: str, type_: str, start: int | None = None, end: int | None = None) -> Row:
    return {"text": mention, "type": type_, "start": start, "end": end}


# --- which form it is


@dataclass(frozen=True)
class Format:
    """A form of a corpus: its name, what tells a row of it, and how such a row is read."""

    name: str
    recognises: Callable[[Row], bool]
    read: Callable[[Row, str, Counter[str]], Row]


def _has_key(rows: list[object], key: str) -> bool:
    return any(isinstance(row, dict) and key in row for row in rows)


CORPUS = Format("{id, text, entities}", lambda row: {"id", "text", "entities"} <= row.keys(), _read_own)
# CMeEE comes before our corpus, as its rows may have an id too.
FORMATS = [
    Format("ShareGPT {conversations}", lambda row: "conversations" in row, _read_conversation),
    Format(
        "{tokens, ner_tags}",
        lambda row: "tokens" in row and any(column in row for column in TAG_COLUMNS),
        _read_tags,
    ),
    Format("CLUENER {text, label}", lambda row: "text" in row and isinstance(row.get("label"), dict), _read_cluener),
    Format(
        "CMeEE {text, entities with start_idx}",
        lambda row: isinstance(row.get("entities"), list) and _has_key(row["entities"], "start_idx"),
        _read_cmeee,
    ),
    CORPUS,
]


def _recognise(rows: list[object], source: str) -> Format:
    first = [row for row in rows[:LOOKED_AT] if isinstance(row, dict)]
    for form in FORMATS:
        if any(form.recognises(row) for row in first):
            return form
    raise _unknown(source)


def _unknown(source: str) -> UserError:
    names = "; ".join(form.name for form in FORMATS)
    return UserError(
        f"{source}: unknown form. Known: CoNLL text, a token and its BIO tag a line; JSON, JSON Lines or Parquet with "
        f"rows of {names}"
    )
