"""Files and folders: how JSON, brat, PubTator and DocBin are split into rows, and which file of a folder is read."""

import json
import sys

import pytest
from corpus_forms import CLASS_LABELS, CLASS_ROWS, OWN, entities
from datasets import Dataset

from ra_ner.corpora.annotations import DISCONTINUOUS, FROM_UTF16, WRONG_OFFSETS
from ra_ner.corpora.sources import SKIPPED, load_corpus
from ra_ner.errors import UserError
from ra_ner.extraction.outputs import as_conll, write_brat
from ra_ner.extraction.spacy_docs import write_spacy

# --- JSON

LINE = json.dumps(OWN)


@pytest.mark.parametrize(
    "content",
    [
        LINE,
        LINE + "\n\n",
        "\ufeff" + LINE + "\r\n",
        f"[{LINE}]",
        json.dumps([OWN], indent=2),
        json.dumps({"data": [OWN]}),
        json.dumps({**OWN, "id": 1}),
        json.dumps({**OWN, "source": "web"}),
    ],
)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt"])
def test_the_name_of_a_json_file_does_not_matter(write, content, name):
    (passage,) = load_corpus(write(content, name), "en").passages
    assert (passage.id, entities(passage)) == ("1", [("Ada", "person", 0, 3)])


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_line_that_is_no_json_is_skipped_and_counted(write, name):
    lines = [json.dumps({**OWN, "id": number}) for number in range(9)]
    assert load_corpus(write("\n".join([*lines, '{"id": 9, "te']), name), "en").counts == {SKIPPED: 1}


def test_one_file_may_hold_one_part_alone(write):
    assert len(load_corpus(write(json.dumps({"test": [OWN], "version": 1})), "en").passages) == 1
    with pytest.raises(UserError, match="holds train and test: save the rows that are meant in a file of their own"):
        load_corpus(write(json.dumps({"train": [OWN], "test": [OWN]})), "en")


def test_one_spacy_tuple_is_one_row(write):
    (passage,) = load_corpus(write('["Ada ran", {"entities": [[0, 3, "x"]]}]'), "en").passages
    assert passage.text == "Ada ran"


# --- brat


def brat(write, text: str, annotations: str) -> str:
    write(text, "note.txt")
    return write(annotations, "note.ann")


def test_brat_keeps_discontinuous_mentions_without_offsets(write):
    lines = "T1\tpart 0 4;15 24\tleft ventricle\nT2\tpart 9 14;15 24\tright ventricle\n#1\tAnnotatorNotes T1\tx\n"
    corpus = load_corpus(brat(write, "left and right ventricle", lines), "en")
    assert entities(corpus.passages[0]) == [("left ventricle", "part", None, None), ("right ventricle", "part", 9, 24)]
    assert corpus.counts == {DISCONTINUOUS: 1}


@pytest.mark.parametrize("name", ["note.ann", "note.txt"])
def test_brat_by_either_file_and_with_line_ends_in_a_mention(write, tmp_path, name):
    brat(write, "Ada\r\nLovelace ran", "T1\tperson 0 13\tAda Lovelace\n")
    (passage,) = load_corpus(str(tmp_path / name), "en").passages
    assert entities(passage) == [("Ada\r\nLovelace", "person", 0, 13)]


@pytest.mark.parametrize("mark", ["\u2028", "\x0c", "\x85"])
def test_a_mention_of_brat_with_a_mark_that_only_python_ends_lines_at(write, mark):
    """brat ends lines at line feeds alone. Text of PDFs holds form feeds and the separators of Unicode."""
    corpus = load_corpus(brat(write, f"left{mark}Tibia hurt", f"T1\tbone 0 10\tleft{mark}Tibia\n"), "en")
    assert entities(corpus.passages[0]) == [(f"left{mark}Tibia", "bone", 0, 10)] and not corpus.counts


def test_brat_in_utf16_units(write):
    corpus = load_corpus(brat(write, "\U0001f600 Oslo", "T1\tcity 3 7\tOslo\n"), "en")
    assert entities(corpus.passages[0]) == [("Oslo", "city", 2, 6)] and corpus.counts == {FROM_UTF16: 1}


def test_a_broken_brat_file_is_named(write):
    with pytest.raises(UserError, match="note.ann: line 2: not `T1, type, start, end, mention`"):
        load_corpus(brat(write, "Ada", "T1\tx 0 3\tAda\nT2\tx 0 3 Ada\n"), "en")
    with pytest.raises(UserError, match="alone.ann: can't be read"):
        load_corpus(write("T1\tx 0 3\tAda\n", "alone.ann"), "en")


# --- PubTator and DocBin


@pytest.mark.parametrize("between", ["\n", ""])
def test_pubtator_documents_and_a_wrong_offset(write, between):
    documents = (
        f"1|t|Iron\n1|a|Gout.\n1\t5\t9\tGout\tDisease\tD1\n{between}2|t|Zinc\n2|a|\n2\t0\t3\tZinc\tChemical\tC1\n"
    )
    corpus = load_corpus(write(documents, "a.PubTator"), "en")
    assert [(p.id, p.text) for p in corpus.passages] == [("1", "Iron Gout."), ("2", "Zinc ")]
    assert list(map(entities, corpus.passages)) == [[("Gout", "Disease", 5, 9)], [("Zinc", "Chemical", 0, 4)]]
    assert not corpus.counts
    corpus = load_corpus(write(documents.replace("0\t3\tZinc", "7\t9\tZinc"), "b.PubTator"), "en")
    assert corpus.counts == {WRONG_OFFSETS: 1} and corpus.passages[1].pairs == [("Zinc", "Chemical")]


def test_docbin_with_span_groups(tmp_path, write):
    spacy = pytest.importorskip("spacy")
    from spacy.tokens import DocBin, Span

    doc = spacy.blank("en")("Ada left New York")
    doc.ents = [Span(doc, 0, 1, label="person"), Span(doc, 2, 4, label="city")]
    doc.spans["sc"] = [Span(doc, 3, 4, label="county"), Span(doc, 2, 4, label="city")]
    doc.spans["coref"] = [Span(doc, 0, 2)]  # without a label
    DocBin(docs=[doc]).to_disk(tmp_path / "train.spacy")
    corpus = load_corpus(str(tmp_path / "train.spacy"), "en", tag_names={"county": "shire"})
    assert corpus.form == "spaCy DocBin"
    expected = [("Ada", "person", 0, 3), ("New York", "city", 9, 17), ("York", "shire", 13, 17)]
    assert entities(corpus.passages[0]) == expected
    with pytest.raises(UserError, match="broken.spacy: can't be read as a DocBin") as error:
        load_corpus(write(b"nothing", "broken.spacy"), "en")
    assert "\n" not in str(error.value)


def test_docbin_without_spacy(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(UserError, match=r"a DocBin is read with spaCy: pip install '.\[spacy\]'"):
        load_corpus(write(b"x", "train.spacy"), "en")


# --- encodings


@pytest.mark.parametrize("content", [b"Ada B-x\n\xed\xa0\xbd O\n\xed\xb8\x80 O\n", "Ada B-x\n\U0001f600 O\n".encode()])
def test_halves_of_an_emoji_that_are_encoded_apart(write, content):
    assert load_corpus(write(content, "a.txt"), "en").passages[0].text == "Ada \U0001f600"


@pytest.mark.parametrize("content", ["Ada B-x\n".encode("utf-16"), "Zürich B-x\n".encode("latin-1")])
def test_another_encoding_is_refused(write, content):
    with pytest.raises(UserError, match="can't be read .* save it as UTF-8 text"):
        load_corpus(write(content, "a.txt"), "en")


# --- folders


@pytest.fixture
def folder(tmp_path):
    """Make a folder of files, and return its path."""

    def folder(**files: str) -> str:
        for name, content in files.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return str(tmp_path)

    return folder


def tagged(name: str) -> str:
    return f"{name} B-person\nran O\n"


def mentions(corpus) -> list[str]:
    return [entity.text for passage in corpus.passages for entity in passage.entities]


def test_a_folder_of_brat_files(folder):
    path = folder(a_txt="Ada", a_ann="T1\tx 0 3\tAda\n", b_txt="Bo", b_ann="", annotation_conf="")
    corpus = load_corpus(path, "en")
    assert [(p.id, p.text) for p in corpus.passages] == [("a", "Ada"), ("b", "Bo")]


def test_a_folder_of_splits(folder):
    path = folder(train_txt=tagged("Ada"), dev_txt=tagged("Bo"), test_txt=tagged("Cy"), README_md="x", labels_json="{}")
    corpus = load_corpus(path, "en")
    assert mentions(corpus) == ["Ada"] and corpus.form.endswith("train.txt")
    assert mentions(load_corpus(path, "en", split="test")) == ["Cy"]


def test_a_folder_of_one_file_and_of_inner_folders(folder):
    assert mentions(load_corpus(folder(one__corpus_conll=tagged("Ada")) + "/one", "en")) == ["Ada"]
    path = folder(many__train__a_txt="Ada", many__train__a_ann="T1\tx 0 3\tAda\n", many__test__b_txt="Bo")
    assert mentions(load_corpus(path + "/many", "en")) == ["Ada"]


def test_a_split_in_numbered_parts(folder, tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(2):
        file = tmp_path / "data" / f"train-{number:05}-of-00002.parquet"
        Dataset.from_dict(CLASS_ROWS, CLASS_LABELS).to_parquet(file)
    corpus = load_corpus(folder(README_md="x"), "en")
    assert mentions(corpus) == ["Ada Lovelace"] * 2
    assert [p.id for p in corpus.passages] == ["data-0", "data-1", "data-2", "data-3"]


def test_parts_that_differ_are_refused(folder):
    path = folder(train1_txt=tagged("Ada"), train2_txt="1\tBo\tB-person\n2\tran\tO\n")
    with pytest.raises(UserError, match="train2.txt: read as tagged text, .* unlike .*train1.txt: name one file"):
        load_corpus(path, "en")


def test_a_folder_without_a_clear_file_is_refused(folder):
    with pytest.raises(UserError, match="is a folder with no data file"):
        load_corpus(folder(README_md="x"), "en")
    with pytest.raises(
        UserError, match="is a folder with first.txt, second.txt, and none is named as its train part: name the file"
    ):
        load_corpus(folder(first_txt=tagged("Ada"), second_txt=tagged("Bo")), "en")


# --- our own files


def test_what_extraction_writes_is_read_back(tmp_path, write):
    pytest.importorskip("spacy")
    spans = [("Ada", "person", 0, 3), ("New York", "city", 9, 17)]
    listed = [{"text": m, "type": t, "start": start, "end": end, "score": 0.9} for m, t, start, end in spans]
    row = {"id": "a", "text": "Ada left New York .", "entities": listed, "examples_used": [], "windows": 1}
    write_brat([row], tmp_path / "brat")
    write_spacy([row], tmp_path / "a.spacy", "en")
    paths = [write([row]), write(as_conll(row), "a.conll"), str(tmp_path / "brat"), str(tmp_path / "a.spacy")]
    for path in paths:
        (passage,) = load_corpus(path, "en").passages
        assert (passage.text, entities(passage)) == (row["text"], spans)
