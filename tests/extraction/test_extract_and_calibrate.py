"""The commands extract and calibrate."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import passage, run_command, write_recipe

from ra_ner import Entity, Extractor
from ra_ner.commands import calibrate, extract
from ra_ner.errors import UserError
from ra_ner.inference.engine import Generation
from ra_ner.inference.models import find_model
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.output_folder import is_ours


def test_a_table_in_a_file_has_no_colors_of_the_terminal(here, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    (tmp_path / "note.txt").write_text("Ada met Bob.\n")
    args = [str(tmp_path / "note.txt"), "--types", "person", "--output", str(tmp_path / "table.txt")]
    extract.main([*args, "--model", str(here / "outputs" / "quickstart" / "adapter"), "--format", "table"])
    page = (tmp_path / "table.txt").read_text()
    assert page.startswith("Ada met Bob.") and "\x1b" not in page


def test_the_command_writes_json_lines_and_other_forms(here, tmp_path, capsys):
    adapter = str(here / "outputs" / "quickstart" / "adapter")
    mine = {"entities": "mine", "error": "a typo"}
    rows = [{"n": i, **mine, "text": f"Ada met Bob in town {i}."} for i in range(5)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{}\n")
    args = [str(tmp_path / "in.jsonl"), "--model", adapter, "--types", "person,city", "--max-new-tokens", "4"]
    output = tmp_path / "new" / "out.jsonl"
    extract.main([*args, "--output", str(output)])
    written = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["n"] for row in written[:5]] == [0, 1, 2, 3, 4] and written[0]["windows"]
    assert (written[0]["input_entities"], written[0]["input_error"]) == ("mine", "a typo") and "error" not in written[0]
    with pytest.raises(UserError, match="begun with another setting of language"):
        extract.main([*args, "--output", str(output), "--language", "zh"])
    assert "row 6 is no object with a text" in written[5]["error"] and written[5]["entities"] == []
    extract.main(args)
    assert "1 of 6 texts failed, see their field `error`; the first:" in capsys.readouterr().out
    extract.main([*args, "--dry_run"])
    assert "6 texts, types person, city" in capsys.readouterr().out
    extract.main([*args, "--dry_run", "--types", "人物，城市、日期"])
    assert "6 texts, types 人物, 城市, 日期" in capsys.readouterr().out
    (tmp_path / "note.txt").write_text("Ada met Bob.\nIn Rome.\n")
    args[0] = str(tmp_path / "note.txt")
    extract.main([*args, "--lines"])
    assert [json.loads(line)["text"] for line in capsys.readouterr().out.splitlines() if line[0] == "{"] == [
        "Ada met Bob.",
        "In Rome.",
    ]
    extract.main([*args, "--format", "conll"])
    assert capsys.readouterr().out.startswith("Ada ")
    extract.main([*args, "--lines", "--format", "brat", "--output", str(tmp_path / "brat")])
    assert (tmp_path / "brat" / "000002.txt").read_text() == "In Rome." and (tmp_path / "brat.jsonl").is_file()
    (tmp_path / "brat" / "000002.ann").write_text("corrected by hand")
    with pytest.raises(UserError, match=r"brat exists; name another output, or delete it"):
        extract.main([*args, "--lines", "--format", "brat", "--output", str(tmp_path / "brat")])


def test_calibrate_measures_on_a_benchmark_and_writes_the_file(here, tmp_path, monkeypatch, capsys):
    """The tiny model finds nothing: its answers are replaced by mentions of the gold and others."""
    adapter = shutil.copytree(here / "outputs" / "quickstart" / "adapter", tmp_path / "adapter")
    args = ["--model", str(adapter), "--benchmark", "sample_en", "--limit", "30"]
    with pytest.raises(UserError, match="0 entities in 0 passages were found"):
        calibrate.main([*args, "--max_new_tokens", "2"])
    has_pieces = False

    def answer(engine, requests):
        for number, request in enumerate(requests):
            raw = json.dumps(request.text.split()[:2])
            pieces = tuple((character, -0.1 - number / 50) for character in raw)
            yield request, Generation(raw, pieces if has_pieces else ())

    monkeypatch.setattr(TransformersEngine, "answer", answer)
    with pytest.raises(UserError, match=r"none of \d+ entities has a score: the server sends no logprobs"):
        calibrate.main(args)
    has_pieces = True
    monkeypatch.setattr(calibrate, "is_right", lambda entity, passage: entity.score > 0.8)
    calibrate.main(args)
    assert "| calibrated |" in capsys.readouterr().out
    before = find_model(str(here / "outputs" / "quickstart" / "adapter")).local.revision
    assert find_model(str(adapter)).local.revision == before, "it is no other model"
    assert is_ours(adapter, "adapter"), "the next training may replace it"
    found = Extractor.from_pretrained(str(adapter)).extract("Ada slept.", ["person"])
    assert found.calibrated and found[0].score != pytest.approx(0.9048, abs=1e-3)


@pytest.mark.parametrize(
    "args, message",
    [
        (["--limit", "-5"], "--limit -5: at least 1 passage is needed"),
        (["--strategy", "nn"], "--strategy nn needs --examples"),
        (["--output", "."], r"--output \. is a folder; name a file in it"),
        (["--on_demand"], "--on_demand needs --examples"),
    ],
)
def test_bad_input_of_calibrate_is_one_line(args, message):
    with pytest.raises(UserError, match=message):
        calibrate.main(["--model", ".", "--benchmark", "sample_en", *args])


def test_calibrate_reads_the_benchmark_in_the_language_of_the_adapter(here, tmp_path, capsys):
    adapter = shutil.copytree(here / "outputs" / "quickstart" / "adapter", tmp_path / "adapter")
    facts = json.loads((adapter / "ra_it.json").read_text())
    (adapter / "ra_it.json").write_text(json.dumps({**facts, "language": "zh"}))
    calibrate.main(["--model", str(adapter), "--benchmark", "sample_zh", "--limit", "3", "--dry_run"])
    assert "3 passages of sample_zh" in capsys.readouterr().out


def test_calibrate_chooses_when_on_demand_shows_examples(here, tmp_path, monkeypatch, capsys):
    """Here examples help always: with them the answer is two words of the text, without them it is nothing."""
    adapter = shutil.copytree(here / "outputs" / "quickstart" / "adapter", tmp_path / "adapter")
    args = ["--model", str(adapter), "--benchmark", "sample_en", "--limit", "30", "--on_demand"]
    with pytest.raises(UserError, match="--on_demand needs --examples"):
        calibrate.main(args)
    with pytest.raises(UserError, match="for the nearest examples; leave out --strategy random"):
        calibrate.main([*args, "--examples", "sample_en", "--strategy", "random"])

    def answer(engine, requests):
        for request in requests:
            right = "Here are some examples" in str(request.messages)
            yield request, Generation(json.dumps(request.text.split()[:2] if right else ["nothing of it"]))

    monkeypatch.setattr(TransformersEngine, "answer", answer)
    monkeypatch.setattr(calibrate, "_counts", lambda passage, types, found: (len(found), 0, 9))
    calibrate.main([*args, "--examples", "sample_en"])
    assert "| always | " in (shown := capsys.readouterr().out) and "shows examples from a BM25 score of 0.0 on" in shown
    assert json.loads((adapter / "on_demand.json").read_text())["bm25_threshold"] == 0
    before = find_model(str(here / "outputs" / "quickstart" / "adapter")).local.revision
    assert find_model(str(adapter)).local.revision == before, "it is no other model"

    far = "Quite unlike all of them."
    for calibrated in (True, False):
        ner = Extractor.from_pretrained(str(adapter), examples="sample_en", calibrated=calibrated)
        assert bool(ner.extract(far, ["person"]).examples_used) == calibrated
        assert ("on_demand shows examples" in capsys.readouterr().out) == calibrated
    base = str(here / "recipes" / "quickstart.yaml")
    recipe = write_recipe(tmp_path / "r.yaml", extends=base, dataset={"bm25_threshold": 9})
    for calibrated in (True, False):
        run_command("evaluate", recipe, "--models", adapter, "--settings", "on_demand", "--calibrated", calibrated)
        rows = (Path("outputs") / "r" / "evaluation" / "predictions.jsonl").read_text("utf-8").splitlines()
        assert all(bool(json.loads(row)["example_ids"]) == calibrated for row in rows)
        report = (Path("outputs") / "r" / "evaluation" / "report.md").read_text("utf-8")
        assert ("on_demand shows examples from a BM25 score of 0.0 on" in report) == calibrated


def test_an_entity_is_right_at_its_gold_place_or_where_gold_has_no_place():
    gold = passage("Ada met Ada.", ("Ada", "person"))
    without_places = replace(gold, entities=(replace(gold.entities[0], start=None, end=None),))
    first, second = Entity("Ada", "person", 0, 3), Entity("Ada", "person", 8, 11)
    assert calibrate.is_right(first, gold) and not calibrate.is_right(second, gold)
    assert calibrate.is_right(second, without_places)
    assert not calibrate.is_right(replace(first, type="city"), gold)


@pytest.mark.parametrize(
    "args, message",
    [
        (["note.txt", "--types", ","], "--types names no type"),
        (["note.txt", "--types", "a", "--model", "MODEL", "--batch_size", "0"], "at least 1"),
        (["note.txt", "--types", "a", "--strategy", "near", "--dry_run"], "--strategy: invalid choice: 'near'"),
        (["note.txt", "--types", "a", "--strategy", "bm25"], "--strategy bm25 needs --examples"),
        (["note.txt", "--types", "a", "--types_file", "note.json"], "--types and --types_file both name types"),
        (["note.txt", "--types", "a", "--output", "."], ". is a folder; name a file in it"),
        (
            ["note.txt", "--types", "a", "--examples", "sample_en", "--encoder", "tester/none", "--model", "MODEL"],
            "the encoder that finds examples",
        ),
        (["note.txt", "--types", "a", "--model", "."], "'.' is no model: it has neither config.json"),
        (["note.txt", "--types", "a", "--format", "brat"], "--format brat needs --output"),
        (["note.txt", "--types_file", "bad.jsonl"], "a list of types is needed, or a mapping to definitions"),
        (["note.txt", "--types", "a", "--labels", "gone.json"], "gone.json: can't be read"),
        (["note.txt", "--types", "a", "--labels", "note.json"], "it must map each label to the words"),
        (["gone.txt", "--types", "a", "--dry_run"], "gone.txt does not exist"),
        (["bad.jsonl", "--types", "a", "--dry_run"], "row 1 is no object with a text in field `text`; it has txt"),
        (["note.txt", "--types", "a", "--engine", "server", "--model", "MODEL"], "engine server needs `server_url`"),
    ],
)
def test_bad_input_of_the_command_is_one_line(models, tmp_path, monkeypatch, args, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("Ada")
    (tmp_path / "note.json").write_text('["person"]')
    (tmp_path / "bad.jsonl").write_text('{"txt": 1}\n')
    with pytest.raises(UserError, match=message):
        extract.main(["--model", "nowhere", *(str(models / "lm") if arg == "MODEL" else arg for arg in args)])
