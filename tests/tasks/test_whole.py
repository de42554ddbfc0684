"""Tasks from recipe to report, with tiny models: the built-in ones, and that of docs/task_of_your_own.md."""

import json
import re
from pathlib import Path

import pytest
from conftest import REPO, run_command, write_recipe
from datasets import load_dataset

from ra_ner.errors import UserError
from ra_ner.extractor import Extractor
from ra_ner.passage import Entity, Passage
from ra_ner.prompting.conversation import training_conversation
from ra_ner.study.grid import load_grid
from ra_ner.study.run import STAGES, Study
from ra_ner.tasks import TASKS, find_wording

TINY = {
    "dataset": {"size": 12, "validation_fraction": 0, "max_length": 8192, "examples_probability": 0.5},
    "train": {"max_length": 8192, "max_steps": 1},
    "evaluate": {"limit": 3, "max_new_tokens": 4},
}


@pytest.fixture
def folder(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name, tiny in (("smollm2-135m-instruct", "lm"), ("all-minilm-l6-v2", "encoder")):
        (tmp_path / "models" / name).symlink_to(models / tiny)
    return tmp_path


def run_whole(recipe: Path) -> tuple[dict, list[dict]]:
    """Build, train and evaluate a recipe shrunk to the tiny models; returns scores and predictions."""
    small = write_recipe(Path("small.yaml"), extends=str(recipe), **TINY)
    run_command("build", small)
    run_command("train", small)
    scores = run_command("evaluate", small)
    lines = Path("outputs/small/evaluation/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    return scores, [json.loads(line) for line in lines]


def test_classification(folder):
    scores, rows = run_whole(REPO / "recipes" / "tasks" / "requests.yaml")
    labels = '["computers", "events", "loans", "rooms"]'
    assert scores["task"] == "classification" and {row["type"] for row in rows} == {labels}
    runs = {(result["model"], result["setting"]): result for result in scores["results"]}
    models = [(model, setting) for model in ("base", "small") for setting in ("zero_shot", "in_domain-nn")]
    assert list(runs) == [*models, ("k-NN vote", "in_domain-nn")]
    vote = runs["k-NN vote", "in_domain-nn"]
    assert vote["unparsed"] == 0 and vote["queries"] == 3 and sum(map(len, vote["confusion"].values())) > 0

    report = Path("outputs/small/evaluation/report.md").read_text(encoding="utf-8")
    assert "2 models were asked 3 questions about 3 passages of requests" in report, "the vote is no model"
    assert "| model | benchmark | setting | accuracy | macro-F1 |" in report
    assert "k-NN vote in_domain-nn | base in_domain-nn" in report, "paired with the models that saw the same examples"
    assert "Confusion, gold labels in rows" in Path("outputs/small/evaluation/report.html").read_text(encoding="utf-8")
    for card in ("dataset/README.md", "adapter/README.md"):
        text = Path("outputs/small", card).read_text(encoding="utf-8")
        assert "text-classification" in text and "named-entity" not in text
    [row] = load_dataset("outputs/small/dataset", "small", split="train").select([0])
    assert row["prompt"][-1]["content"] == f"Which of these labels fits the text? {labels}"

    with pytest.raises(UserError, match="was trained for text classification"):
        Extractor.from_pretrained("outputs/small/adapter")
    ner = write_recipe(Path("ner.yaml"), extends="quickstart")
    with pytest.raises(UserError, match="was trained for text classification, the recipe's task is open named entity"):
        run_command("evaluate", ner, "--models", "outputs/small/adapter")


def test_relations(folder):
    scores, rows = run_whole(REPO / "recipes" / "tasks" / "relations.yaml")
    types = {"founder of", "located in", "born in", "designer of", "student of"}
    assert scores["task"] == "relations" and {row["type"] for row in rows} == types
    assert {result["queries"] for result in scores["results"]} == {3 * len(types)}
    assert any(row["gold"] for row in rows) and all(json.loads(one["text"]) for row in rows for one in row["gold"])
    report = Path("outputs/small/evaluation/report.md").read_text(encoding="utf-8")
    assert "| string P | string R | string F1 | offset P | offset R | offset F1 | string macro-F1 |" in report
    assert "| spurious | missed | boundary | wrong type | hallucinated | unparsed | reversed |" in report


@pytest.mark.parametrize(
    "content, message",
    [
        ({"task": "clasification"}, "unknown task clasification; did you mean `classification`"),
        ({"task": "relations", "dataset": {"wording": "ra_it"}}, "`wording: ra_it` is for task ner, not for relations"),
        ({"dataset": {"wording": "ra-it"}}, "unknown wording ra-it; use ra_it"),
    ],
)
def test_a_wrong_task_or_wording_is_one_line(folder, content, message):
    with pytest.raises(UserError, match=message):
        run_command("build", write_recipe(Path("wrong.yaml"), **{"extends": "quickstart", **content}), "--dry_run")


def fences(language: str) -> list[str]:
    text = (REPO / "docs" / "task_of_your_own.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_task_of_the_docs(folder):
    [rows], [code], [recipe] = fences("json"), fences("python"), fences("yaml")
    assert len([line for line in code.splitlines() if line.strip()]) < 80
    Path("slots").mkdir()
    for part, end in (("train", ""), ("test", " Thanks!")):
        content = [json.loads(line) for line in rows.strip().split("\n")]
        lines = [json.dumps(row | {"utterance": row["utterance"] + end}) for row in content]
        Path("slots", f"{part}.jsonl").write_text("\n".join(lines))
    Path("slots.yaml").write_text(recipe)
    Path("slots.py").write_text(code)
    exec(compile(code, "slots.py", "exec"), {"__name__": "slots", "__file__": "slots.py"})
    try:
        scores, predictions = run_whole(Path("slots.yaml").resolve())
        write_recipe(Path("grid.yaml"), recipes=["slots.yaml"], axes={"dataset.strategy": ["nn"]}, seeds=[1])
        study = Study(load_grid("grid.yaml"))
        commands = [study._command(study.grid.cells[0], stage, resumes=False) for stage in STAGES]
    finally:
        TASKS.pop("slots")
    assert scores["task"] == "slots" and {row["type"] for row in predictions} == {"city", "guests", "time"}
    assert "| slot P | slot R | slot F1 |" in Path("outputs/small/evaluation/report.md").read_text(encoding="utf-8")
    assert "slot filling" in Path("outputs/small/adapter/README.md").read_text(encoding="utf-8")
    words = [command[command.index("slots.py") :][:2] for command in commands]
    assert words == [["slots.py", "build"], ["slots.py", "train"], ["slots.py", "evaluate"]], "ra-ner knows no slots"


@pytest.mark.parametrize(
    "wording, example, question, answer",
    [
        ("classification", "文本：谁？\n标签：a", "以下标签中哪一个适合这段文本？T", "a"),
        ("classification_without_labels", "文本：谁？\n标签：a", "这段文本的标签是什么？", "a"),
        ("relations", '文本：谁？\n关系：[["a", "T", "b"]]', '文本中哪些实体对具有"T"关系？', '[["a", "b"]]'),
    ],
)
def test_the_tasks_have_words_in_chinese_too(wording, example, question, answer):
    item = '["a", "b"]' if wording == "relations" else "a"
    passage = Passage("1", "谁？", (Entity(item, "T"),))
    prompt, completion = training_conversation(passage, ["T"], [passage], find_wording(wording, "zh"))
    assert prompt[0]["content"].endswith(example) and prompt[2]["content"] == "文本： 谁？"
    assert (prompt[-1]["content"], completion[0]["content"]) == (question, answer)
