"""Results in other forms: what they hold is what was found."""

import re

from conftest import passage
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.corpora.sources import load_corpus
from ra_ner.extraction.outputs import as_conll, as_table, write_brat


def result(text: str, *entities: tuple[str, str], **further: object) -> dict:
    """A row with each mention at its first place."""
    found = passage(text, *entities).entities
    keys = ("text", "type", "start", "end")
    return {"text": text, "entities": [{k: getattr(e, k) for k in keys} | {"score": 0.9} for e in found], **further}


NESTED = result("The New York Times", ("New York Times", "paper"), ("New York", "city"))


def test_conll_cuts_tokens_at_entities_and_keeps_one_of_those_that_overlap():
    assert as_conll(NESTED) == "The O\nNew B-paper\nYork I-paper\nTimes I-paper\n\n"
    assert as_conll(result("在北京市。", ("北京", "city"))) == "在 O\n北 B-city\n京 I-city\n市 O\n。 O\n\n"
    assert as_conll(result("a Berlin-based firm", ("Berlin", "city name"))) == (
        "a O\nBerlin B-city_name\n- O\nbased O\nfirm O\n\n"
    )
    assert as_conll(result("xAday", ("Ada", "person"))) == "x O\nAda B-person\ny O\n\n"


def test_conll_keeps_accents_and_vowel_signs_in_their_words():
    row = result("Zoe\u0301 lives in दिल्ली.", ("Zoe\u0301", "person"), ("दिल्ली", "city"))
    assert as_conll(row) == "Zoe\u0301 B-person\nlives O\nin O\nदिल्ली B-city\n. O\n\n"


def test_conll_is_read_back_as_a_corpus(tmp_path):
    row = result("Ada Lovelace left London.", ("Ada Lovelace", "person"), ("London", "city"))
    (tmp_path / "a.conll").write_text(as_conll(row))
    (read,) = load_corpus(str(tmp_path / "a.conll"), "en").passages
    assert read.pairs == [("Ada Lovelace", "person"), ("London", "city")]


def test_brat_has_offsets_of_the_text_file_and_fragments_at_line_ends(tmp_path):
    rows = [
        result("Ada\nLovelace wrote.\r\n", ("Ada\nLovelace", "famous person"), id="letter-1"),
        result("", id="../up"),
        {**result("Bob", ("Bob", "person")), "id": "letter-1"},
    ]
    write_brat(rows, tmp_path / "brat")
    names = sorted(path.name for path in (tmp_path / "brat").glob("[!.]*"))
    stems = ["000002", "000003", "letter-1"]
    assert names == [f"{stem}.{end}" for stem in stems for end in ("ann", "txt")]
    text = (tmp_path / "brat" / "letter-1.txt").read_bytes().decode()
    line, note = (tmp_path / "brat" / "letter-1.ann").read_text().splitlines()
    assert line == "T1\tfamous_person 0 3;4 12\tAda Lovelace" and note == "#1\tAnnotatorNotes T1\tscore 0.9"
    places = [tuple(map(int, part.split())) for part in re.search(r"_person (.*)\t", line)[1].split(";")]
    assert " ".join(text[start:end] for start, end in places) == "Ada Lovelace"


def test_a_brat_mention_over_windows_line_ends_is_read_back(tmp_path):
    write_brat([result("Ada\r\nLovelace wrote.\r\n", ("Ada\r\nLovelace", "person"), id="a")], tmp_path / "brat")
    assert (tmp_path / "brat" / "a.ann").read_bytes().startswith(b"T1\tperson 0 3;5 13\tAda Lovelace\n")
    (read,) = load_corpus(str(tmp_path / "brat"), "en").passages
    assert read.pairs == [("Ada\r\nLovelace", "person")]


def test_each_text_has_a_brat_file_of_its_own_whatever_its_id(tmp_path):
    rows = [result("One", id="000002"), result("Two", id="a/b"), result("Three", id="x" * 300), result("Four", id=None)]
    write_brat(rows, tmp_path / "brat")
    files = {path.name: path.read_text() for path in (tmp_path / "brat").glob("*.txt")}
    assert sorted(files.values()) == ["Four", "One", "Three", "Two"] and "None.txt" not in files


def test_a_table_lists_entities_and_colors_a_terminal():
    row = result("Ada left Rome.", ("Ada", "person"), ("Rome", "city"))
    lines = as_table(row, color=False).splitlines()
    assert lines[0] == "Ada left Rome." and lines[3].split() == ["city", "Rome", "9", "13", "0.90"]
    assert "\x1b[" not in "".join(lines) and "\x1b[30;4" in as_table(row, color=True)


@given(st.text(max_size=40))
def test_no_text_controls_the_terminal(text):
    row = {"text": f"{text}\x1b[2J\x07", "entities": [], "error": "\x1b[0m"}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", as_table(row, color=False))
