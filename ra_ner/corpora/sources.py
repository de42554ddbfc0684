"""Reading corpora: a file, a folder or a Hub dataset becomes rows, and rows become passages.

The form of a corpus is recognised by its rows (`formats.py`), and its reader makes a draft of each row
(`annotations.py`). What was decided is shown with a few entities, and what looks misread is refused.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from ..errors import UserError
from ..passage import Passage
from ..paths import resource
from ..prompting.answers import HALF_CHARACTER
from ..recipe_keys import DatasetConfig
from .annotations import FROM_UTF16, NOT_ANNOTATED, Context, Draft, Malformed, NotAnnotatedError, find_unit, resolve
from .files import Table, numbered, read_files
from .folders import find_part, no_part, only_part
from .formats import NER_READING, OURS, TAGGED, TOKENS, Form, Reading, recognise, unknown_form
from .hub_datasets import dataset_rows, load_from_hub
from .label_words import LABELS_FILE, apply_words, label_key, labels_file, read_words
from .span_forms import is_unlabelled
from .tags import read_tag_names

logger = logging.getLogger(__name__)

SKIPPED = "skipped_malformed"
SHOWN = 3  # malformed rows, and sample entities
LABELS_SHOWN = 10  # labels without words
MOST_MALFORMED = 0.2  # share of malformed rows from which on a corpus is refused
MOST_CLOSED_TYPES = 200  # with more types they are open, and some always differ by case alone
TAG_NAMES = "label.json"  # beside files of the tner datasets, whose tags are numbers
INSIST = "if it is right, write `check_corpus: false` in section dataset"

BUILT_IN = {name: resource(f"data/sample/{name.removeprefix('sample_')}.jsonl") for name in ("sample_en", "sample_zh")}


@dataclass(frozen=True)
class LoadedCorpus:
    """What was read.

    Attributes:
        commit: of a Hub dataset, None for a file.
        counts: how many rows or mentions had which fault.
        license: as the Hub names it, None if it is unknown.
        form: what the source was read as: the form, and the columns of tagged text.
        asked: of questions about texts, id of a passage -> the types that are asked, in their order.
        words: label -> other words that took its place, see `load_recipe_corpus`.
    """

    passages: list[Passage]
    commit: str | None
    counts: dict[str, int]
    license: str | None = None
    form: str | None = None
    asked: dict[str, list[str]] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)


class UnlabelledError(UserError):
    """The source has texts, but no entities."""


def load_corpus(
    source: str,
    language: str,
    split: str = "train",
    revision: str | None = None,
    config: str | None = None,
    columns: Mapping[str, int | str] | None = None,
    tag_names: str | Mapping[str, str] | None = None,
    check: bool = True,
    reading: Reading = NER_READING,
) -> LoadedCorpus:
    """Read a corpus in any form of `formats.FORMS`, or of another task.

    Malformed rows are skipped, and the first ones shown. A mention that is not in its text gets no offsets. Ids are
    taken from the source if every row has a distinct one, else they are its name and the row's number, from 0.

    Args:
        source: a file, a folder, a built-in sample (`sample_en`, `sample_zh`), or the id of a Hub dataset.
        split: of a Hub dataset, or the part of a folder, see `folders.find_part`.
        revision, config: of a Hub dataset.
        columns: where `token` and `tag` stand: columns from 1 in tagged text, keys in JSON; found if None.
        tag_names: what values in the corpus are called: a mapping or a file, see `tags.read_tag_names`. Default:
            label.json beside the files, as the datasets of tner have it.
        check: refuse what looks misread.
        reading: of the task.

    Raises:
        UserError: the source can't be read, is in no known form, looks misread, or has no passage or no entity.

    Example:
        >>> load_corpus("sample_en", "en").passages[0].types
    """
    path = Path(source)
    if not path.exists() and source in BUILT_IN:
        path = BUILT_IN[source]
    names = read_tag_names(tag_names) if tag_names else {}
    context = Context(language, names, columns or {}, has_tables=reading.has_tables)
    if path.is_dir():
        if files := find_part(path, split) or only_part(path):
            return load_files(files, str(path), context, check, reading)
        raise no_part(path, split)
    if path.is_file():
        return load_files([path], str(path), context, check, reading)
    dataset, commit, license = load_from_hub(source, split, revision, config)
    table = numbered(dataset_rows(dataset, source), f"{source.rpartition('/')[2]}-{split}")
    return replace(_from_rows(table, source, context, check, reading), commit=commit, license=license)


def load_files(files: Sequence[Path], source: str, context: Context, check: bool, reading: Reading) -> LoadedCorpus:
    """Read the files of a corpus, or of a part of a benchmark, as `load_corpus`.

    Args:
        files: one file, the pieces of one, or brat files.
        source: what the user named: the file, or the folder that they were found in.
    """
    read = str(files[0] if len(files) == 1 else files[0].parent)
    which = read if len(files) == 1 else f"{len(files)} files of {read}"
    chosen = f", of {which}" if str(files[0]) != source else ""
    names = files[0].with_name(TAG_NAMES)
    if not context.tag_names and names.is_file():
        context = replace(context, tag_names=read_tag_names(str(names)))
        chosen += f", with the names of tags in {names}"
    return _from_rows(read_files(files, context), read, context, check, reading, chosen)


def _from_rows(
    table: Table, source: str, context: Context, check: bool, reading: Reading, chosen: str = ""
) -> LoadedCorpus:
    """The corpus in the rows of a source. `chosen` says which files were chosen, for the description of the form."""
    if not table.rows:
        raise UserError(f"{source} is empty; a corpus needs at least one passage")
    if is_unlabelled(table.rows):
        raise UnlabelledError(f"{source} has texts without labels")
    if table.form and reading.has_tables:
        raise unknown_form(source, reading)
    form = table.form or (TOKENS if context.columns else recognise(table.rows, source, reading))
    if context.columns and form not in (TAGGED, TOKENS):
        raise UserError(f"{source}: `columns` is for CoNLL text and rows of tokens and tags, but this is {form.name}")
    context = replace(context, scheme=table.scheme)
    counts: Counter[str] = Counter()
    try:
        found = form.prepare(table.rows, context) if form.prepare else ""
        passages, asked = _read_rows(table, form, context, source, counts, check)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    description = (table.description or form.name) + found + chosen
    if not any(passage.entities for passage in passages):
        raise UnlabelledError(f"{source}: no passage has an entity, so there is nothing to learn or to score")
    if form is not OURS or chosen:  # our own form leaves nothing to guess
        _show(passages, source, description.removesuffix(f", of {source}"))
    if check:
        _check_sanity(passages, source)
    return LoadedCorpus(passages, None, dict(counts), form=description, asked=asked)


def load_examples(examples: str | Path | Iterable[Passage | dict], language: str) -> list[Passage]:
    """A pool of examples: passages, rows in any form of `formats.FORMS`, or a corpus that `load_corpus` reads.

    Raises:
        UserError: as `load_corpus`.
    """
    if isinstance(examples, str | Path):
        return load_recipe_corpus(DatasetConfig(corpus=str(examples)), language).passages
    rows = list(examples)
    if all(isinstance(row, Passage) for row in rows):
        return rows
    return _from_rows(numbered(rows, "examples"), "examples", Context(language), True, NER_READING).passages


def load_recipe_corpus(config: DatasetConfig, language: str, reading: Reading = NER_READING) -> LoadedCorpus:
    """Read the corpus that section `dataset` of a recipe names, in the words of a labels.json in its folder.

    Labels that labels.json does not have stay as they are written. A labels.json that `tag_names` names has no words.

    Raises:
        UserError: as `load_corpus`, or labels.json does not map labels to words.
    """
    source = config.corpus
    corpus = load_corpus(
        source,
        language,
        revision=config.revision,
        config=config.corpus_config,
        columns=config.columns,
        tag_names=config.tag_names,
        check=config.check_corpus,
        reading=reading,
    )
    file = labels_file(Path(source))
    if file and Path(str(config.tag_names)).name != LABELS_FILE:
        words = read_words(file)
        labels = dict.fromkeys(type_ for passage in corpus.passages for type_ in passage.types)
        without = [label for label in labels if label_key(label) not in words]
        stay = f"; without words, and asked as written: {', '.join(without[:LABELS_SHOWN])}" if without else ""
        logger.info(f"{source}: labels are asked by the words of {file}{stay}")
        worded = {label: word for label in labels if (word := words.get(label_key(label), label)) != label}
        corpus = replace(corpus, passages=apply_words(corpus.passages, words), words=worded)
    return replace(corpus, passages=reading.finished(corpus.passages, corpus.passages))


def _read_rows(
    table: Table, form: Form, context: Context, source: str, counts: Counter[str], check: bool
) -> tuple[list[Passage], dict[str, list[str]]]:
    """The passages of all rows that are not malformed, and by their id the types that the rows ask.

    Raises:
        UserError: too many are.
    """
    faults: dict[int, str] = {}

    def skip(row: int, error: Exception) -> None:
        # Only a ValueError has a message; the others mean that the row is built differently.
        reason = str(error) if type(error) is ValueError else f"unlike {form.name} ({error!r})"
        place = table.places[row]
        faults[row] = reason if reason.startswith(place.split()[0]) else f"{place}: {reason}"

    drafts: dict[int, Draft] = {}
    for number, row in enumerate(table.rows):
        try:
            drafts[number] = _draft(row, form, context)
        except NotAnnotatedError:
            counts[NOT_ANNOTATED] += 1
        except _ROW_ERRORS as error:
            skip(number, error)
    is_utf16 = find_unit(drafts.values(), check)
    passages, asked, ids = [], {}, _ids(table)
    for number, draft in drafts.items():
        row_counts: Counter[str] = Counter()
        try:
            passage = Passage(ids[number], draft.text, tuple(resolve(draft, is_utf16, row_counts)))
            _check_passage(passage)
        except _ROW_ERRORS as error:
            skip(number, error)
        else:
            counts += row_counts
            passages.append(passage)
            if draft.asked:
                asked[ids[number]] = draft.asked
    if counts[FROM_UTF16]:
        logger.info(f"{source}: {counts[FROM_UTF16]} offsets count UTF-16 units; they were converted to characters")
    _report([faults[row] for row in sorted(faults)], len(table.rows), source, form, counts, check)
    return passages, asked


_ROW_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError)


def _draft(row: object, form: Form, context: Context) -> Draft:
    if isinstance(row, Malformed):
        raise ValueError(row)
    return form.read(row, context)


def _check_passage(passage: Passage) -> None:
    if not isinstance(passage.text, str) or not passage.text.strip():
        raise ValueError("the text is empty")
    for text in (passage.id, passage.text, *(word for e in passage.entities for word in (e.text, e.type))):
        if half := HALF_CHARACTER.search(text):
            raise ValueError(f"{ascii(half[0])[1:-1]} is half of a character, such as of an emoji that was cut in two")


def _report(faults: list[str], rows: int, source: str, form: Form, counts: Counter[str], check: bool) -> None:
    """Show the first malformed rows, and count all.

    Raises:
        UserError: they are too many.
    """
    if not faults:
        return
    counts[SKIPPED] = len(faults)
    if len(faults) == rows:
        raise UserError(f"none of its {rows} rows is a valid {form.name} row; {faults[0]}")
    if check and len(faults) > MOST_MALFORMED * rows:
        raise UserError(
            f"{len(faults)} of {rows} rows are malformed, read as {form.name}; the first is {faults[0]}. "
            "Mend them; to skip them, write `check_corpus: false` in section dataset"
        )
    for fault in faults[:SHOWN]:
        logger.info(f"{source}: skipped {fault}")


def _ids(table: Table) -> list[str]:
    ids = [row.get("id") if isinstance(row, dict) else getattr(row, "id", None) for row in table.rows]
    unique = list(dict.fromkeys(str(id_) for id_ in ids if isinstance(id_, str | int)))
    return unique if len(unique) == len(ids) else [f"{table.stem}-{number}" for number in range(len(ids))]


def _show(passages: Iterable[Passage], source: str, description: str) -> None:
    """Show in one line what was decided, so that a wrong guess is seen."""
    entities = (f"{entity.text!r} ({entity.type})" for passage in passages for entity in passage.entities)
    samples = list(dict.fromkeys(islice(entities, 100)))[:SHOWN]
    logger.info(f"{source}: read as {description}; for example {', '.join(samples)}")


def _check_sanity(passages: list[Passage], source: str) -> None:
    """Refuse what looks misread.

    Raises:
        UserError: the texts are mostly numbers, or types differ by white space or case alone.
    """
    numbers = [passage.text for passage in passages if _is_mostly_digits(passage.text)]
    if len(numbers) > len(passages) / 2:
        raise UserError(
            f"{source}: {len(numbers)} of {len(passages)} texts are mostly numbers, such as {numbers[0][:40]!r}: name "
            f"the column of the tokens (`columns: {{token: 2, tag: 3}}`), or, {INSIST}"
        )
    types = dict.fromkeys(type_ for passage in passages for type_ in passage.types)
    if len(types) <= MOST_CLOSED_TYPES:
        seen: dict[str, str] = {}
        for type_ in types:
            first = seen.setdefault("".join(type_.casefold().split()), type_)
            if first != type_:
                raise UserError(
                    f"{source}: types {first!r} and {type_!r} differ by white space or case alone, and would be asked "
                    f"about as two: make them one in the corpus, or, {INSIST}"
                )


def _is_mostly_digits(text: str) -> bool:
    text = "".join(text.split())
    return sum(map(str.isdigit, text)) > len(text) / 2
