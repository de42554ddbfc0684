"""All recipes, run by their own Hub ids and paths, where a loopback Hub and a folder hold tiny models."""

import json
import re
from pathlib import Path

import pytest
import trl
from conftest import HUB, REPO, byte_level_tokenizer, put_folder, run_command, save_tiny_model
from datasets import load_dataset

from ra_ner.corpora.sources import load_corpus
from ra_ner.prompting.chat_template import TEMPLATES
from ra_ner.recipe import load_recipe
from ra_ner.study.grid import load_grid
from ra_ner.study.run import Study


def conversations(language: str) -> bytes:
    """The sample corpus as ShareGPT conversations, the form of Pile-NER-type and Sky-NER."""
    from ra_ner.prompting.conversation import WORDINGS, training_conversation

    rows = []
    for passage in load_corpus(str(REPO / "data" / "sample" / f"{language}.jsonl"), "en").passages[:12]:
        prompt, completion = training_conversation(passage, passage.types, [], WORDINGS["ra_it", language])
        turns = [{"from": m["role"], "value": m["content"]} for m in prompt + completion]
        rows.append({"id": passage.id, "conversations": turns})
    return json.dumps(rows, ensure_ascii=False).encode()


def tokenizer_of(template: str | None, bos: str | None, eos: str, control: list[str]):
    tokenizer = byte_level_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": control})
    tokenizer.chat_template, tokenizer.bos_token, tokenizer.eos_token = template, bos, eos
    return tokenizer


@pytest.fixture
def hub_of_the_paper(hub, models, tmp_path):
    """The corpora, encoders and base models that the recipes name; the models are tiny, of the same architecture."""
    chatml = re.sub(r"\{%- (end)?generation -%\}", "", (TEMPLATES / "chatml.jinja").read_text(encoding="utf-8"))
    qwen3 = (Path(trl.__path__[0]) / "chat_templates" / "qwen3.jinja").read_text(encoding="utf-8")
    headers = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    for name, architecture, *tokenizer in [
        ("meta-llama/Meta-Llama-3-8B", "llama", None, "<|im_start|>", "<|endoftext|>", headers),  # a base model
        ("Qwen/Qwen1.5-7B-Chat", "qwen2", chatml, None, "<|im_end|>", []),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2", chatml, None, "<|im_end|>", []),
        ("Qwen/Qwen3-8B", "qwen3", qwen3, None, "<|im_end|>", ["<think>", "</think>"]),
    ]:
        save_tiny_model(architecture, tokenizer_of(*tokenizer), tmp_path / architecture)
        put_folder("model", name, tmp_path / architecture)
    for name in ("thenlper/gte-large", "thenlper/gte-large-zh"):
        put_folder("model", name, models / "encoder")
    for name, language in (("Universal-NER/Pile-NER-type", "en"), ("EmmaStrong/Sky-NER", "zh")):
        HUB.create("dataset", name)
        HUB.put("dataset", name, {"train.json": conversations(language)})


@pytest.fixture
def unpacked(models, tmp_path):
    """Tiny models, of the same architecture, where `ra-ner models` unpacks those that the recipes name."""
    (tmp_path / "models").mkdir()
    for name, tiny in (
        ("smollm2-135m-instruct", "lm"),
        ("all-minilm-l6-v2", "encoder"),
        ("multilingual-e5-small", "encoder"),
    ):
        (tmp_path / "models" / name).symlink_to(models / tiny)
    control = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = tokenizer_of(None, "<bos>", "<eos>", control)  # a base model
    save_tiny_model("gemma3_text", tokenizer, tmp_path / "models" / "gemma-3-270m")


# One run for each architecture and chat template; RA-IT and vanilla, English and Chinese.
WHOLE = {
    "en_10k": TEMPLATES / "llama3.jinja",
    "zh_5k_vanilla": TEMPLATES / "chatml.jinja",
    "zh_10k_qwen3": Path(trl.__path__[0]) / "chat_templates" / "qwen3_training.jinja",
}


@pytest.mark.parametrize("name, template", WHOLE.items())
def test_a_recipe_of_the_paper_runs_whole(hub_of_the_paper, workplace, monkeypatch, capsys, name, template):
    monkeypatch.chdir(workplace)
    recipe = REPO / "recipes" / f"{name}.yaml"
    run_command("build", recipe, "--max_length", 9000)
    run_command("train", recipe, "--max_length", 9000, "--dry_run")
    shown = capsys.readouterr().out
    run_command("train", recipe, "--max_length", 9000, "--max_steps", 2, "--eval_steps", 2, "--save_steps", 2)
    assert re.search(r"^memory .*$", capsys.readouterr().out, re.MULTILINE)[0] in shown
    scores = run_command("evaluate", recipe, "--models", "adapter", "--limit", 2, "--max_new_tokens", 2)
    facts = json.loads((workplace / "outputs" / name / "adapter" / "ra_it.json").read_text())
    assert facts["k"] == (0 if "vanilla" in name else 2)
    assert [result["model"] for result in scores["results"]] == [name, name]
    saved = (workplace / "outputs" / name / "adapter" / "chat_template.jinja").read_text(encoding="utf-8")
    assert saved == template.read_text(encoding="utf-8")


RUN_ELSEWHERE = {*WHOLE, "quickstart", "quickstart_vanilla"}  # the fixture `finished` runs these two
OTHERS = [path for path in sorted((REPO / "recipes").glob("*.yaml")) if path.stem not in RUN_ELSEWHERE]


@pytest.mark.parametrize("recipe", OTHERS, ids=lambda path: path.stem)
def test_every_other_recipe_builds_and_trains_a_step(hub_of_the_paper, unpacked, tmp_path, monkeypatch, recipe):
    for name in ("ra_ner", "data"):
        (tmp_path / name).symlink_to(REPO / name)
    monkeypatch.chdir(tmp_path)
    run_command("build", recipe, "--max_length", 9000, "--size", 12)
    once = ["--max_steps", 1, "--eval_strategy", "no", "--save_strategy", "no", "--load_best_model_at_end", "false"]
    run_command("train", recipe, "--max_length", 9000, *once)
    facts = json.loads((tmp_path / "outputs" / recipe.stem / "adapter" / "ra_it.json").read_text())
    assert facts["k"] == (0 if "vanilla" in recipe.stem else 2) and facts["effective_batch_size"] in (1, 2, 8)


@pytest.mark.parametrize("path", sorted((REPO / "recipes").glob("??_*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_paper_has_its_settings(path):
    from ra_ner.commands import train as train_sft

    _, config, model, args, _ = train_sft.make_parser().parse_recipe([str(path)])
    assert (model.lora_r, model.lora_alpha, model.lora_dropout, model.lora_target_modules) == (8, 16, 0, "all-linear")
    assert model.load_in_4bit == (not path.stem.endswith("bf16"))
    assert model.use_bnb_nested_quant and model.dtype == "bfloat16"
    assert (args.learning_rate, args.lr_scheduler_type, args.warmup_steps) == (5e-5, "cosine", 0.03)
    assert (args.num_train_epochs, args.per_device_train_batch_size * args.gradient_accumulation_steps) == (3, 8)
    assert args.max_length == load_recipe(path).dataset.max_length == 2048 and config.on_overflow == "error"
    assert args.load_best_model_at_end and load_recipe(path).dataset.validation_fraction == 0.1
    assert args.report_to == ["tensorboard"] and not args.push_to_hub


SIZES = ("5k", "10k", "10k_qwen3", "50k")


def sections(name: str) -> dict[str, dict]:
    return load_recipe(REPO / "recipes" / f"{name}.yaml").sections


@pytest.mark.parametrize(
    "name", ["en_5k", "en_10k", "en_10k_qwen3", "en_50k", "zh_5k", "zh_10k", "zh_10k_qwen3", "zh_50k"]
)
def test_the_vanilla_twin_differs_in_its_strategy_alone(name):
    recipe, twin = sections(name), sections(f"{name}_vanilla")
    assert twin["dataset"].pop("strategy") == "none" and recipe["dataset"].pop("strategy") == "nn"
    assert twin == recipe


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", ["5k", "50k"])
def test_sizes_differ_in_the_number_of_passages_alone(language, size):
    ten, recipe = sections(f"{language}_10k"), sections(f"{language}_{size}")
    assert recipe["dataset"].pop("size") == int(size[:-1]) * 1000 and ten["dataset"].pop("size") == 10_000
    assert recipe == ten


def test_the_recipe_for_large_cards_differs_in_what_small_cards_need_alone():
    small, large = sections("en_10k"), sections("en_10k_bf16")
    keys = ("load_in_4bit", "per_device_train_batch_size", "gradient_accumulation_steps")
    assert [large["train"].pop(key) for key in keys] == [False, 8, 1]
    assert large == small


@pytest.mark.parametrize("name, language, count", [("smollm2_gpu", "en", 5), ("gemma3_zh", "zh", 3)])
def test_a_built_in_study_runs_shrunk(hub, unpacked, tmp_path, monkeypatch, name, language, count):
    """The four arms of its first seed, on 12 passages, from their recipes to the report."""
    corpus, benchmark = tmp_path / "corpus.json", tmp_path / "benchmark"
    corpus.write_bytes(conversations(language))
    benchmark.mkdir()
    for part in ("test", "train"):
        (benchmark / f"{part}.txt").write_text(f"Ada B-person\nsaw O\nParis B-location\nin O\n{part} O\n")
    monkeypatch.chdir(tmp_path)
    names = [source.partition("=")[0] for source in load_grid(name).bases[f"{name}-none-seed42"].evaluate.benchmarks]
    assert len(names) == count
    benchmarks = [f"{benchmark}=benchmark" for benchmark in names]
    shrunk = ["dataset.size=12", "dataset.max_length=9000", "train.max_length=9000", "train.max_steps=1"]
    shrunk += ["dataset.corpus=corpus.json", f"evaluate.benchmarks={json.dumps(benchmarks)}", "evaluate.words=file"]
    study = Study(load_grid(name, [*shrunk, "evaluate.max_new_tokens=2"]))
    study.grid.write_recipes()
    shown = {}  # training rows with examples
    for cell in study.grid.cells[:4]:
        for command in ("build", "train", "evaluate"):
            run_command(command, study.grid.recipe_path(cell))
        rows = load_dataset(str(cell.output_dir / "dataset"), cell.name, split="train")
        shown[cell.name] = sum(map(bool, rows["example_ids"])) / len(rows)
    none, nn, half, random = shown.values()
    assert none == 0 and nn == random == 1 and 0 < half < 1
    study._write_report()
    report = (tmp_path / "outputs" / name / "report.md").read_text(encoding="utf-8")
    assert all(benchmark in report for benchmark in names) and "in_domain-nn" in report
