"""Evaluation: what is asked, what is kept, and that it resumes."""

import json
import shutil
from dataclasses import replace

import pytest
from conftest import passage as make_passage
from conftest import run_command, write_recipe

from ra_ner.corpora.benchmarks import load_benchmark
from ra_ner.errors import UserError
from ra_ner.evaluation.run import Item, _queries, copied, types_asked
from ra_ner.inference.models import find_model
from ra_ner.passage import Entity, Passage
from ra_ner.recipe import load_recipe
from ra_ner.tasks import TASKS
from ra_ner.tasks.relations import pair
from ra_ner.tasks.scoring import score_all

RECIPE = "recipes/quickstart.yaml"


def predictions(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


def outputs(folder) -> dict[str, bytes]:
    names = ("predictions.jsonl", "scores.json", "report.md", "report.html")
    return {name: (folder / name).read_bytes() for name in names}


def test_every_model_is_asked_every_query_in_every_setting(here):
    rows = predictions(here / "outputs" / "quickstart" / "evaluation")
    groups = {(row["model"], row["setting"]) for row in rows}
    assert groups == {
        (m, s) for m in ("base", "quickstart_vanilla", "quickstart") for s in ("zero_shot", "in_domain-nn")
    }
    asked = [{(r["passage_id"], r["type"]) for r in rows if (r["model"], r["setting"]) == group} for group in groups]
    assert all(queries == asked[0] for queries in asked)
    assert all(bool(row["example_ids"]) == (row["setting"] != "zero_shot") for row in rows)
    assert all(len(row["example_scores"]) == len(row["example_ids"]) for row in rows)


def test_scores_and_report_agree_with_the_predictions(here):
    folder = here / "outputs" / "quickstart" / "evaluation"
    rows, scores = predictions(folder), json.loads((folder / "scores.json").read_text())
    report = (folder / "report.md").read_text()
    assert len(scores["results"]) == 6
    for result in scores["results"]:
        group = [r for r in rows if (r["model"], r["setting"]) == (result["model"], result["setting"])]
        assert result["queries"] == len(group) and result["unparsed"] == sum(not row["parsed"] for row in group)
        assert (
            f"| {result['model']} | sample_en | {result['setting']} | {100 * result['span']['precision']:.1f} |"
            in report
        )
    assert "sample of 3 passages" in report
    assert "in_domain-nn (sample)" in (folder / "report.html").read_text(encoding="utf-8")


def test_predictions_and_texts_are_all_that_the_scorer_needs(here):
    folder = here / "outputs" / "quickstart" / "evaluation"
    scores, texts = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("scores.json", "texts.json"))
    assert score_all(predictions(folder), texts, scores["config"]["seed"])["results"] == scores["results"]


def test_of_open_types_the_passages_own_and_as_many_others_are_asked():
    benchmark = load_benchmark("sample_en", "en")
    for passage, types in zip(benchmark.test, types_asked(benchmark, benchmark.test, 42), strict=True):
        assert len(set(types)) == len(types) == 2 * len(passage.types)
        assert set(passage.types) <= set(types)


def write_benchmark(folder, labels):
    rows = [
        {"id": "1", "text": "Ada", "entities": [{"text": "Ada", "type": "PER", "start": 0, "end": 3}]},
        {"id": "2", "text": "none here", "entities": []},
    ]
    folder.mkdir()
    (folder / "test.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "labels.json").write_text(json.dumps(labels))
    return folder


def test_of_a_benchmark_with_labels_the_whole_set_is_asked_of_every_passage_but_misc(tmp_path):
    folder = write_benchmark(tmp_path / "mine", {"PER": "person", "LOC": "location", "MISC": "misc"})
    benchmark = load_benchmark(str(folder), "en")
    assert benchmark.test[0].types == ["person"]
    assert types_asked(benchmark, benchmark.test, 42) == [["person", "location"]] * 2


def test_a_benchmark_that_is_asked_nothing(here, tmp_path, capsys):
    (tmp_path / "test.conll").write_text("Ada B-misc\nran O\n")
    args = [RECIPE, "--models", "base", "--settings", "zero_shot", "--words", "file", "--output_dir", tmp_path / "o"]
    args += ["--benchmarks", f"x={tmp_path / 'test.conll'}"]
    run_command("evaluate", *args, "--dry_run")
    assert "labels of x: file (test.conll)" in capsys.readouterr().out
    assert run_command("evaluate", *args)["results"] == predictions(tmp_path / "o") == []


def test_scores_say_how_each_benchmark_was_asked(here):
    scores = json.loads((here / "outputs" / "quickstart" / "evaluation" / "scores.json").read_text())
    assert scores["labels"] == {"sample_en": "open"}
    assert scores["benchmarks"]["sample_en"] == {
        **{"labels": "open", "tested": "en_test.jsonl", "types": None, "not_asked": [], "dropped_from_pool": 0},
        "faults": {},
    }


def test_rows_that_were_skipped_are_counted_in_scores_and_report(here, tmp_path):
    rows = [json.dumps({"text": f"Ada {i}", "entities": [{"text": "Ada", "type": "PER"}]}) for i in range(8)]
    (tmp_path / "test.jsonl").write_text("\n".join([*rows, '{"text": "", "entities": []}']))
    args = ["--benchmarks", f"mine={tmp_path}", "--models", "base", "--settings", "zero_shot", "--limit", 2]
    scores = run_command("evaluate", RECIPE, *args, "--output_dir", tmp_path / "o")
    assert scores["benchmarks"]["mine"]["faults"] == {"skipped_malformed": 1}
    assert "Faults in the file of mine: 1 skipped malformed." in (tmp_path / "o" / "report.md").read_text()


def test_a_limit_that_no_benchmark_exceeds_makes_no_sample(here, tmp_path):
    folder = write_benchmark(tmp_path / "mine", {"PER": "person"})
    args = ["--benchmarks", f"mine={folder}", "--models", "base", "--settings", "zero_shot", "--limit", 3]
    run_command("evaluate", RECIPE, *args, "--output_dir", tmp_path / "o")
    page = (tmp_path / "o" / "report.md").read_text()
    assert "Each benchmark: all passages." in page and "sample" not in page


def test_a_warning_tells_of_words_that_were_not_trained_before_a_model_is_asked(here, tmp_path, caplog):
    folder = write_benchmark(tmp_path / "mine", {"PER": "person", "MISC": "misc"})
    corpus = tmp_path / "corpus" / "train.txt"
    corpus.parent.mkdir()
    corpus.write_text("Ada B-PER\nsang O\n\nBo B-PER\n")
    recipe = write_recipe(tmp_path / "r.yaml", extends=str(here / RECIPE), dataset={"corpus": str(corpus)})
    models = ("--models", "base", "outputs/quickstart/adapter")
    ask = ("evaluate", recipe, "--benchmarks", folder, *models, "--settings", "zero_shot", "--dry_run")
    warning = "asked by words that the recipe's corpus does not have, though it has the labels: 'person' for 'PER'"
    run_command(*ask)
    assert warning in caplog.text
    caplog.clear()
    (corpus.parent / "labels.json").write_text('{"PER": "person"}')
    run_command(*ask)
    assert warning not in caplog.text


def test_queries_equal_those_of_the_released_benchmark(golden):
    """CrossNER music as UniversalNER evaluates it: same text, types and gold, but for two rows of its own."""
    released = json.loads((golden / "golden" / "crossner_music_uniner.json").read_text(encoding="utf-8"))
    benchmark = load_benchmark(str(golden / "data" / "en" / "crossner_music"), "en")
    ours = {
        (
            passage.text,
            f"What describes {type_} in the text?",
            tuple(e.text for e in passage.entities if e.type == type_),
        )
        for passage in benchmark.test
        for type_ in benchmark.types
    }
    theirs = [[turn["value"] for turn in row["conversations"]] for row in released]
    equal = sum((t[0].removeprefix("Text: "), t[2], tuple(json.loads(t[3]))) in ours for t in theirs)
    assert equal >= len(theirs) - 2


@pytest.mark.parametrize(
    "args, message",
    [
        (["--benchmarks", "sample_em"], "unknown benchmark sample_em; did you mean sample_en"),
        (["--benchmarks", "sample_zh"], "is in zh, the recipe's language is en"),
        (["--benchmarks", "sample_en", "sample_en"], "benchmark sample_en is given twice"),
        (["--settings", "zeroshot"], "unknown setting 'zeroshot'"),
        (["--settings", "zero_shot", "zero_shot"], "setting zero_shot is given twice"),
        (["--limit", "0"], "section evaluate: `limit: 0`: at least 1 is needed"),
        (["--models", "nowhere"], "nowhere.*there is no such repo"),
        (["--dtype", "int8"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(here, tmp_path, args, message):
    with pytest.raises(UserError, match=message):
        run_command("evaluate", RECIPE, "--output_dir", tmp_path, *args)


def test_a_label_without_words_and_a_missing_adapter(here, tmp_path):
    folder = write_benchmark(tmp_path / "mine", {"LOC": "location"})
    with pytest.raises(UserError, match="label 'PER' has no words"):
        run_command("evaluate", RECIPE, "--output_dir", tmp_path / "o", "--benchmarks", folder)
    (tmp_path / "untrained.yaml").write_text(f"extends: {here / RECIPE}")
    with pytest.raises(UserError, match=r"does not exist; train it with `accelerate launch"):
        run_command("evaluate", tmp_path / "untrained.yaml", "--models", "adapter", "--output_dir", tmp_path / "o")


def entries(folder) -> int:
    return len((folder / "answers.jsonl").read_bytes().splitlines())


def test_a_run_cut_short_resumes_to_the_same_bytes_and_asks_only_what_is_missing(here, tmp_path, monkeypatch):
    from ra_ner.inference.transformers import TransformersEngine

    args = [RECIPE, "--models", "base", "--settings", "zero_shot", "--output_dir", tmp_path]
    run_command("evaluate", *args)
    whole, lines = outputs(tmp_path), (tmp_path / "answers.jsonl").read_bytes().splitlines(keepends=True)
    assert len(lines) == len(predictions(tmp_path)) > 5

    asked, answer = [], TransformersEngine.answer
    monkeypatch.setattr(
        TransformersEngine, "answer", lambda self, requests: asked.extend(requests) or answer(self, requests)
    )
    (tmp_path / "answers.jsonl").write_bytes(b"".join(lines[:3]) + lines[3][:-5])  # the fourth line is torn
    run_command("evaluate", *args)
    assert outputs(tmp_path) == whole and entries(tmp_path) == len(lines)
    assert len(asked) == len(lines) - 3

    monkeypatch.setattr(TransformersEngine, "__init__", None)  # a run with nothing left to ask loads no model
    run_command("evaluate", *args)
    assert outputs(tmp_path) == whole


def test_answers_do_not_depend_on_how_many_passages_are_asked_at_once(here, tmp_path):
    for size in (1, 3):
        args = [
            "--models",
            "adapter",
            "--settings",
            "in_domain-nn",
            "--batch_size",
            size,
            "--output_dir",
            tmp_path / str(size),
        ]
        run_command("evaluate", RECIPE, *args)
    assert predictions(tmp_path / "1") == predictions(tmp_path / "3")


def test_all_types_in_one_conversation(here, tmp_path):
    args = [RECIPE, "--models", "base", "--settings", "zero_shot", "--mode", "conversation", "--output_dir", tmp_path]
    run_command("evaluate", *args)
    rows, whole = predictions(tmp_path), outputs(tmp_path)
    alone = predictions(here / "outputs" / "quickstart" / "evaluation")[: len(rows)]
    assert [(r["passage_id"], r["type"]) for r in rows] == [(r["passage_id"], r["type"]) for r in alone]
    journal = (tmp_path / "answers.jsonl").read_bytes()
    (tmp_path / "answers.jsonl").write_bytes(journal[: len(journal) // 2])
    run_command("evaluate", *args)
    assert outputs(tmp_path) == whole, "a conversation that was cut short is asked again from its start"


def test_passages_with_one_text_have_conversations_of_their_own(here, tmp_path, monkeypatch):
    """A question that a file asks again begins another passage with that text."""
    from ra_ner.inference.transformers import TransformersEngine

    rows = []
    for type_ in ("person", "city", "city", "river"):
        turns = ["Text: Ada left Basel.", "I've read this text.", f"What describes {type_} in the text?", '["Ada"]']
        rows.append(
            {"conversations": [{"from": ("human", "gpt")[i % 2], "value": turn} for i, turn in enumerate(turns)]}
        )
    (tmp_path / "test.json").write_text(json.dumps(rows))
    conversations, converse = [], TransformersEngine.converse
    monkeypatch.setattr(
        TransformersEngine, "converse", lambda self, asked: conversations.append(asked) or converse(self, asked)
    )
    args = ["--mode", "conversation", "--benchmarks", f"b={tmp_path / 'test.json'}", "--output_dir", tmp_path / "o"]
    run_command("evaluate", RECIPE, "--models", "base", "--settings", "zero_shot", *args)
    types = [[query.type for query in conversation] for conversation in conversations]
    assert sorted(types) == [["city"], ["person", "city", "river"]]


def test_changed_weights_or_prompts_never_reuse_old_answers(here, tmp_path):
    args = ["--settings", "in_domain-nn", "--output_dir", tmp_path]
    run_command("evaluate", RECIPE, "--models", "base", *args)
    each = entries(tmp_path)
    changes = (["--k", "1"], ["--max_new_tokens", "3"], ["--load_in_4bit", "true"], ["--mode", "conversation"])
    for number, change in enumerate(changes, 2):
        run_command("evaluate", RECIPE, "--models", "base", *args, *change)
        assert entries(tmp_path) == number * each, change
    adapter = here / "outputs" / "quickstart" / "adapter"
    before = entries(tmp_path)
    run_command("evaluate", RECIPE, "--models", "adapter", *args)
    config = adapter / "adapter_config.json"
    original = config.read_bytes()
    config.write_bytes(original + b"\n")
    run_command("evaluate", RECIPE, "--models", "adapter", *args)
    config.write_bytes(original)
    assert entries(tmp_path) == before + 2 * each


@pytest.mark.parametrize("mode", ["query", "conversation"])
def test_a_prompt_that_two_settings_have_in_common_is_asked_once(here, tmp_path, mode):
    """`on_demand` shows each passage the examples of in_domain-nn, or none as zero_shot does."""
    args = [RECIPE, "--models", "base", "--mode", mode, "--output_dir", tmp_path]
    run_command("evaluate", *args, "--settings", "zero_shot", "in_domain-nn")
    asked = entries(tmp_path)
    run_command("evaluate", *args, "--settings", "zero_shot", "in_domain-nn", "on_demand")
    rows = predictions(tmp_path)
    assert entries(tmp_path) == asked == len({(row["setting"], row["passage_id"], row["type"]) for row in rows}) * 2 / 3
    answers = {row["prompt_hash"]: row["raw_answer"] for row in rows if row["setting"] != "on_demand"}
    assert all(row["raw_answer"] == answers[row["prompt_hash"]] for row in rows if row["setting"] == "on_demand")
    shutil.rmtree(tmp_path)
    run_command("evaluate", *args, "--settings", "zero_shot", "in_domain-nn", "on_demand")
    assert entries(tmp_path) == asked and predictions(tmp_path) == rows, "all at once"


def test_two_adapters_of_one_recipe_are_told_apart(here, tmp_path):
    copy = shutil.copytree(here / "outputs" / "quickstart" / "adapter", tmp_path / "copy")
    args = ["--models", "adapter", copy, "--settings", "zero_shot", "--output_dir", tmp_path / "o"]
    scores = run_command("evaluate", RECIPE, *args)
    assert [(result["model"], result["passages"]) for result in scores["results"]] == [("adapter", 3), (str(copy), 3)]


@pytest.mark.parametrize(
    "line",
    [b"", b"garbage", b'{"key": "torn', b"\xff\xfe", b"null", b"[]", b'{"key": 1, "answer": "a"}', b"[" * 9999],
    ids=lambda line: ascii(line[:12]),
)
def test_a_broken_line_of_the_journal_costs_itself_alone_and_is_said(here, tmp_path, capsys, line):
    args = [RECIPE, "--models", "base", "--settings", "zero_shot", "--output_dir", tmp_path]
    run_command("evaluate", *args)
    whole, journal = outputs(tmp_path), (tmp_path / "answers.jsonl").read_bytes().splitlines()
    (tmp_path / "answers.jsonl").write_bytes(b"\n".join([line, *journal[1:], b""]))
    run_command("evaluate", *args)
    assert outputs(tmp_path) == whole
    assert "answers.jsonl: 1 lines can't be read; what they held is asked again" in capsys.readouterr().out
    assert entries(tmp_path) == len(journal) + 1, "one answer was asked again"


@pytest.mark.parametrize("answer", ["\ud83d", '["\ud83d"]', '["\\ud83d"]', "a" * 1000 + "\udcff"])
def test_half_a_surrogate_pair_in_an_answer_costs_that_answer_alone(here, tmp_path, answer):
    args = [RECIPE, "--models", "base", "--settings", "zero_shot", "--output_dir", tmp_path]
    run_command("evaluate", *args)
    before, lines = predictions(tmp_path), (tmp_path / "answers.jsonl").read_text().splitlines()
    entry = json.loads(lines[0]) | {"answer": answer}
    (tmp_path / "answers.jsonl").write_text("\n".join([json.dumps(entry), *lines[1:], ""]))
    run_command("evaluate", *args)
    after = predictions(tmp_path)
    (changed,) = [row for row, old in zip(after, before, strict=True) if row != old]
    assert changed["raw_answer"] == answer
    assert all((tmp_path / name).read_text(encoding="utf-8") for name in ("scores.json", "report.md", "report.html"))


def test_a_model_whose_recipe_is_called_like_another_entry_is_told_apart(here, tmp_path):
    """The copies are other models, as their files differ."""
    copies = [shutil.copytree(here / "outputs" / "quickstart" / "adapter", tmp_path / name) for name in "ab"]
    for copy, recipe in zip(copies, ("quickstart", "adapter"), strict=True):
        facts = json.loads((copy / "ra_it.json").read_text()) | {"recipe": recipe}
        (copy / "ra_it.json").write_text(json.dumps(facts))
    args = ["--models", "adapter", *copies, "--settings", "zero_shot", "--output_dir", tmp_path / "o"]
    scores = run_command("evaluate", RECIPE, *args)
    assert [r["model"] for r in scores["results"]] == ["adapter", *map(str, copies)]
    assert len({r["revision"] for r in scores["results"]}) == 3
    assert {r["passages"] for r in scores["results"]} == {3} and len(scores["comparisons"]) == 3


def test_an_adapter_on_another_base_never_reuses_old_answers(here):
    adapter = find_model("outputs/quickstart/adapter")
    other = replace(adapter, base=replace(adapter.base, revision="other"))
    item = Item("b", "zero_shot", make_passage("Ada left.", id="p"), ["person"], [])
    config = load_recipe(RECIPE).evaluate
    queries = [next(_queries(model, [item], config)) for model in (adapter, other)]
    assert queries[0].messages == queries[1].messages and queries[0].key != queries[1].key


def test_a_mention_is_copied_that_stands_in_an_example_but_not_in_the_text():
    shown, text = [make_passage("Carl met Bob in Rome.", ("Carl", "person"))], "Ada met Bob."
    assert copied(TASKS["ner"], ["Ada", "Bob", "Carl", "Rome", "Dora"], text, shown) == ["Carl", "Rome"]
    assert copied(TASKS["ner"], ["Carl"], text, []) == []


def test_a_pair_is_copied_from_the_relations_of_an_example_and_a_label_never_is():
    pairs = [pair("Carl", "Rome"), pair("Ada", "Bob")]
    shown = [Passage("p", "Carl met Bob in Rome.", tuple(Entity(one, "met") for one in pairs))]
    assert copied(TASKS["relations"], pairs, "Ada met Bob.", shown) == pairs[:1]
    assert copied(TASKS["classification"], ["place"], "", [Passage("p", "Rome", (Entity("place", "[]"),))]) == []
