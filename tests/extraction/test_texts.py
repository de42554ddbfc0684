"""Texts are read from files, standard input and the Hub; other fields are kept, and bad rows cost themselves alone."""

import json
import os
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from conftest import HUB

from ra_ner.errors import UserError
from ra_ner.extraction.texts import read_rows
from ra_ner.foreign_files import LARGEST_JSON


def test_a_text_file_is_one_text_with_its_own_line_ends(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffOne\r\ntwo\n".encode())
    assert list(read_rows(str(tmp_path / "a.txt"))) == [{"text": "One\r\ntwo\n"}]
    lines = read_rows(str(tmp_path / "a.txt"), lines=True)
    assert [row["text"] for row in lines] == ["One", "two"]


def test_json_lines_keep_their_fields_and_bad_rows_are_rows(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"id": 1, "body": "One\u2028two"}\n\nnot json\n[1]\n{"body": null}\n{"body": "Six"}\n')
    rows = list(read_rows(str(file), column="body"))
    assert rows[0] == {"text": "One\u2028two", "id": 1} and rows[-1] == {"text": "Six"}
    assert [row.get("error", "").partition("row ")[2][:1] for row in rows] == ["", "2", "3", "4", ""]


def test_a_column_beside_a_field_named_text_is_the_one_that_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "body", "title": "Ada left."}\n')
    assert list(read_rows(str(tmp_path / "a.jsonl"), column="title")) == [{"text": "Ada left.", "input_text": "body"}]


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.csv", 'n,body\n1,"One,\r\ntwo"\n2,Three\n'),
        ("a.tsv", 'n\tbody\n1\t"One,\r\ntwo"\n2\tThree\n'),
        ("A.CSV", 'n,body\n1,"One,\r\ntwo"\n2,Three\n'),
        ("a.ndjson", '{"n": "1", "body": "One,\\r\\ntwo"}\n{"n": "2", "body": "Three"}\n'),
        ("a.json", '[{"n": "1", "body": "One,\\r\\ntwo"}, {"n": "2", "body": "Three"}]'),
    ],
)
def test_tables_and_json_documents_have_rows(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("utf-8-sig"))
    rows = list(read_rows(str(tmp_path / name), column="body"))
    assert rows == [{"text": "One,\r\ntwo", "n": "1"}, {"text": "Three", "n": "2"}]
    with pytest.raises(
        UserError, match=r"row 1 is no object with a text in field `text`; it has n, body, see --column"
    ):
        list(read_rows(str(tmp_path / name)))


def test_numbers_that_json_does_not_have_are_null(tmp_path):
    """Another program writes NaN for a missing value; a strict reader of the results, such as a browser, refuses it."""
    (tmp_path / "a.jsonl").write_text('{"text": "One", "price": NaN, "most": Infinity, "n": 0.5}\n')
    assert list(read_rows(str(tmp_path / "a.jsonl"))) == [{"text": "One", "price": None, "most": None, "n": 0.5}]


def test_a_text_of_a_table_may_be_as_long_as_a_book(tmp_path):
    (tmp_path / "a.csv").write_text(f"text,n\n{'One ' * 100_000},1\n")
    (row,) = read_rows(str(tmp_path / "a.csv"))
    assert len(row["text"]) == 400_000


@pytest.mark.parametrize("rows", ['"One,1\nTwo,2\n', '"One,1\n"Two",2\n'])
def test_an_open_quote_in_a_table_does_not_make_one_text_of_several(tmp_path, rows):
    (tmp_path / "a.csv").write_text(f"text,n\n{rows}")
    with pytest.raises(UserError, match=r"a.csv: line [23] can't be read \(.*\): close all quotes"):
        list(read_rows(str(tmp_path / "a.csv")))


def test_a_row_without_a_text_keeps_its_fields(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "One"}\n{"id": 2, "text": null, "error": "late"}\n')
    bad = list(read_rows(str(tmp_path / "a.jsonl")))[1]
    assert (bad["id"], bad["input_error"]) == (2, "late") and "row 2 is no object with a text" in bad["error"]


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(UserError, match="is a folder; name a file with texts"):
        list(read_rows(str(tmp_path)))


def test_a_wrong_first_row_stops_with_its_fields(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "One", "id": 1}\n')
    with pytest.raises(UserError, match=r"row 1 is no object with a text in field `text`; it has body, id, see --col"):
        list(read_rows(str(tmp_path / "a.jsonl")))


def test_parquet(tmp_path):
    rows = [{"body": f"Text {i}", "n": i} for i in range(3)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert list(read_rows(str(tmp_path / "a.parquet"), column="body")) == [
        {"text": row["body"], "n": row["n"]} for row in rows
    ]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"bad.parquet: can't be read as Parquet"):
        list(read_rows(str(tmp_path / "bad.parquet")))


def test_a_column_of_a_hub_dataset(hub):
    HUB.create("dataset", "tester/texts")
    HUB.put("dataset", "tester/texts", {"test.jsonl": b'{"body": "One"}\n{"body": "Two"}\n'})
    rows = list(read_rows("tester/texts", column="body", split="test"))
    assert [row["text"] for row in rows] == ["One", "Two"]
    with pytest.raises(UserError, match="split 'train' of dataset 'tester/texts' can't be read"):
        list(read_rows("tester/texts"))
    for name in ("tester/none", "tester/none-2.5"):
        with pytest.raises(UserError, match=f"'{name}' is no file in .*, and as a Hub dataset it can't be read"):
            list(read_rows(name))


@pytest.mark.parametrize(
    "content, flags, texts",
    [
        ("One\r\ntwo\n", {}, ["One\r\ntwo\n"]),
        ("One\ntwo\n", {"lines": True}, ["One", "two"]),
        ('{"text": "One"}\n{"text": "zwö"}\n', {}, ["One", "zwö"]),
    ],
)
def test_standard_input_is_text_or_json_lines(content, flags, texts):
    code = "import json; from ra_ner.extraction.texts import read_rows; "
    code += f"print(json.dumps([row['text'] for row in read_rows('-', **{flags})]))"
    done = subprocess.run([sys.executable, "-c", code], input=content.encode(), capture_output=True, check=True)
    assert json.loads(done.stdout) == texts


def test_a_json_file_of_lines_or_one_that_is_too_large_is_better_json_lines(tmp_path):
    (tmp_path / "a.json").write_text('{"text": "One"}\n{"text": "Two"}\n')
    for size in ((tmp_path / "a.json").stat().st_size, LARGEST_JSON + 1):
        os.truncate(tmp_path / "a.json", size)
        with pytest.raises(UserError, match=r"as JSON .*; correct it, or save its rows as JSON Lines \(.jsonl\)"):
            list(read_rows(str(tmp_path / "a.json")))


def test_what_can_not_be_read_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"a.txt: can't be read .*; save it as UTF-8"):
        list(read_rows(str(tmp_path / "a.txt")))
    with pytest.raises(UserError, match=r"gone.txt does not exist \(looked in"):
        list(read_rows("gone.txt"))
