"""Reading a corpus: our own rows, malformed rows, and what looks misread."""

import json

import pyarrow.parquet
import pytest
from corpus_forms import OWN, entities
from datasets import Dataset

from ra_ner.corpora.annotations import BLANK, TRIMMED, WRONG_OFFSETS
from ra_ner.corpora.sources import SKIPPED, load_corpus
from ra_ner.errors import UserError


def test_our_corpus_as_lines_array_and_parquet(write, tmp_path):
    path = write([OWN])
    Dataset.from_list([OWN]).to_parquet(tmp_path / "corpus.parquet")
    for source in (path, write(json.dumps([OWN], indent=1), "corpus.json"), str(tmp_path / "corpus.parquet")):
        assert load_corpus(source, "en").passages == load_corpus(path, "en").passages


def test_a_parquet_file_rebuilt_under_its_name_is_read_anew(tmp_path):
    for text in ("Ada met Ada.", "Ada left."):
        Dataset.from_list([{**OWN, "text": text}]).to_parquet(tmp_path / "corpus.parquet")
        assert load_corpus(str(tmp_path / "corpus.parquet"), "en").passages[0].text == text


def own(**change) -> dict:
    return {**OWN, "entities": [{**OWN["entities"][0], **change}]}


def test_offsets_may_be_unknown(write):
    passage = load_corpus(write([own(start=None, end=None)]), "en").passages[0]
    assert entities(passage) == [("Ada", "person", None, None)]


@pytest.mark.parametrize("start, end", [(-12, -9), (-4, -1), (-4, 11), (8, 99)])
def test_offsets_outside_of_the_text_are_wrong_even_where_a_slice_is_right(write, start, end):
    """Python counts negative offsets from the end, and slices beyond it."""
    row = own(text=OWN["text"][start:end], start=start, end=end)
    with pytest.raises(UserError, match=rf"text\[{start}:{end}\] is not that mention"):
        load_corpus(write([row]), "en")
    of_doccano = {"text": row["text"], "label": [[start, end, "person"]]}
    with pytest.raises(UserError, match="outside of the text"):
        load_corpus(write([of_doccano]), "en")
    of_others = {"text": row["text"], "entities": [{"entity": row["entities"][0]["text"], "type": "person"}]}
    of_others["entities"][0] |= {"start_idx": start, "end_idx": end}
    corpus = load_corpus(write([of_others]), "en")
    assert corpus.passages[0].entities[0].start is None and corpus.counts == {WRONG_OFFSETS: 1}


@pytest.mark.parametrize(
    "row, message",
    [
        ([1], "unknown form"),
        (own(start=1, end=4), r"text\[1:4\] is not that mention"),
        (own(end=None), "both must be whole numbers"),
        (own(start="0"), "both must be whole numbers"),
        (own(type=""), "is not the name of a type"),
        (own(text=""), "a mention must be a non-empty string"),
    ],
)
def test_a_wrong_row_of_our_own_is_named(write, row, message):
    with pytest.raises(UserError, match=message) as error:
        load_corpus(write([row]), "en")
    assert "corpus.jsonl" in str(error.value)


def test_every_real_corpus_is_read(golden):
    files = sorted(golden.glob("data/*/*/*.jsonl"))
    assert files
    for file in files:
        assert load_corpus(str(file), file.parts[-3]).passages


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"id": "1"}\n{"id', "unknown form"),
        (json.dumps(OWN) + '\n{"id', "1 of 2 rows are malformed.* line 2: not JSON"),
        ('[\n{"id": "1"},\n{"id"]', "line 3: not JSON .* is needed"),
        ('{"a": ' + "[" * 100_000, "line 1: not JSON"),
        ("nothing known", "unknown form. Known are: {id, text, entities}; CoNLL text.*ShareGPT.*CLUENER.*CMeEE"),
        ('{"txt": "Ada"}', "unknown form. Known are: .*"),
        ("", "is empty; a corpus needs"),
        ("\n\n", "is empty; a corpus needs"),
        (b"\xff\xfe\x00", "can't be read .* UTF-8"),
        ("EU O\nrejects B-", "unknown form"),
        ("EU O\nrejects", "line 2: a line must hold a token and its tag"),
        ("EU O", "no passage has an entity"),
        ([{"tokens": ["Ada"], "tags": ["PER"]}], "the tags follow no scheme that is known .'PER'"),
        ([{"tokens": ["Ada"], "tags": [1]}], "the tags are numbers without a name"),
        ([{"conversations": []}], r"none of its 1 rows is a valid ShareGPT"),
        ([{**OWN, "entities": [1]}], "row 1: an entity is"),
        ([{**OWN, "entities": 1}], "unknown form"),
        ([OWN, {**OWN, "text": " "}], "line 2: entity 'Ada'"),
        ([OWN, {**OWN, "text": " ", "entities": []}], "line 2: the text is empty"),
    ],
)
def test_bad_files_are_refused_in_one_line(write, content, message):
    with pytest.raises(UserError, match=message) as error:
        load_corpus(write(content), "en")
    assert "corpus.jsonl" in str(error.value) and "\n" not in str(error.value)


def test_a_broken_parquet_file(write, tmp_path):
    with pytest.raises(UserError, match="a.parquet: can't be read"):
        load_corpus(write("no Parquet", "a.parquet"), "en")
    table = Dataset.from_list([OWN]).data.table
    schema = table.schema.metadata[b"huggingface"].replace(b"Value", b"Vault")  # as of another version of datasets
    pyarrow.parquet.write_table(table.replace_schema_metadata({b"huggingface": schema}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="b.parquet: can't be read .Feature type 'Vault' not found") as error:
        load_corpus(str(tmp_path / "b.parquet"), "en")
    assert "\n" not in str(error.value)


# --- malformed rows

GOOD = {"text": "Ada ran", "label": [[0, 3, "x"]]}
BAD = {"text": "Ada", "label": [[0, 30, "x"]]}


@pytest.mark.parametrize("good, bad", [(GOOD, BAD), (OWN, {**OWN, "text": "Bo"})])
def test_up_to_a_fifth_of_malformed_rows_is_skipped_counted_and_shown(write, good, bad, capsys):
    assert load_corpus(write([good] * 4 + [bad]), "en").counts == {SKIPPED: 1}
    assert "corpus.jsonl: skipped line 5: " in capsys.readouterr().out
    path = write([good] * 7 + [bad] * 2)
    with pytest.raises(UserError, match="2 of 9 rows are malformed, .* line 8: .*`check_corpus: false`"):
        load_corpus(path, "en")
    assert load_corpus(path, "en", check=False).counts == {SKIPPED: 2}


def test_rows_are_shown_in_their_order(write, capsys):
    unlike = {"text": 3, "label": []}
    load_corpus(write([GOOD] * 20 + [BAD, unlike, BAD, unlike]), "en")
    shown = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert [line.split("skipped ")[1][:8] for line in shown] == ["line 21:", "line 22:", "line 23:"]


HALF = "\\ud83d"  # as JSON writes it


@pytest.mark.parametrize(
    "row",
    [
        '{"id": "1", "text": "Ada HALF", "entities": [{"text": "Ada", "type": "x", "start": 0, "end": 3}]}',
        '{"id": "HALF", "text": "Ada", "entities": [{"text": "Ada", "type": "x"}]}',
        '{"text": "Ada", "label": [[0, 3, "HALF"]]}',
        '["Ada HALF", {"entities": [[0, 3, "x"]]}]',
        '{"tokens": ["Ada", "HALF"], "ner_tags": ["B-x", "O"]}',
        '{"messages": [{"role": "user", "content": "Text: Ada HALF"}, {"role": "assistant", "content": "ok"}, '
        '{"role": "user", "content": "What describes x in the text?"}, '
        '{"role": "assistant", "content": "[\\"Ada\\"]"}]}',
    ],
)
def test_half_an_emoji_is_one_line_with_its_row(write, row):
    with pytest.raises(UserError, match=r"row 1: .ud83d is half of a character") as error:
        load_corpus(write(row.replace("HALF", HALF)), "en")
    assert str(error.value).isprintable()
    whole = row.replace("HALF", HALF + "\\ude00")
    assert load_corpus(write(whole), "en").passages[0].entities[0].text == "Ada"


# --- mentions


def test_mentions_are_trimmed_and_mentions_of_blanks_are_dropped(write):
    spans = [("Oslo ", 0, 5), ("\nAda", 11, 15), (" ", 4, 5), (" Ada", None, None), ("\n", None, None)]
    listed = [{"text": mention, "type": "x", "start": start, "end": end} for mention, start, end in spans]
    corpus = load_corpus(write([{"id": "1", "text": "Oslo lies.\n\nAda left.", "entities": listed}]), "en")
    assert entities(corpus.passages[0]) == [("Oslo", "x", 0, 4), ("Ada", "x", 12, 15), ("Ada", "x", None, None)]
    assert corpus.counts == {TRIMMED: 3, BLANK: 2}


def test_nested_repeated_and_discontinuous_mentions_of_our_own_stay_as_they_are(write):
    spans = [
        ("IL-2", "a", 0, 4),
        ("IL-2", "b", 0, 4),
        ("IL-2 IL-2", "a", 0, 9),
        ("IL-2", "a", 5, 9),
        ("I 2", "a", None, None),
    ]
    listed = [{"text": text, "type": type_, "start": start, "end": end} for text, type_, start, end in spans]
    corpus = load_corpus(write([{"id": "1", "text": "IL-2 IL-2", "entities": listed}]), "en")
    assert entities(corpus.passages[0]) == spans and not corpus.counts


# --- what looks misread


def check_insist(path: str, message: str, **keys) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_corpus(path, "en", **keys)
    assert "`check_corpus: false`" in str(error.value)
    assert load_corpus(path, "en", check=False, **keys).passages


def test_texts_of_numbers_are_refused(write):
    lines = "\n\n".join("7 Ada B-x\n8 ran O\n9 home O" for _ in range(3))
    check_insist(
        write(lines, "a.txt"), "3 of 3 texts are mostly numbers, such as '7 8 9'", columns={"token": 1, "tag": 3}
    )


@pytest.mark.parametrize("types", [("PER", "Per"), ("book title", "book  title"), ("city", "city ")])
def test_types_that_differ_by_white_space_or_case_are_refused(write, types):
    spans = [[0, 3, types[0]], [4, 6, types[1]]]
    check_insist(write([{"text": "Ada Bo", "label": spans}]), "differ by white space or case alone")


def test_many_open_types_may_differ_by_case(write):
    types = [f"type {number}" for number in range(200)] + ["Type 1"]
    rows = [{"text": f"Ada {type_}", "label": [[0, 3, type_]]} for type_ in types]
    assert load_corpus(write(rows), "en").passages


def test_columns_of_a_form_without_columns_are_refused(write):
    write("Ada", "a.txt")
    with pytest.raises(UserError, match="`columns` is for CoNLL text and rows of tokens and tags, but this is brat"):
        load_corpus(write("T1\tx 0 3\tAda\n", "a.ann"), "en", columns={"token": 1, "tag": 2})
