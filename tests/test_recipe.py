"""Recipes: strict keys, `extends`, flags that win."""

from pathlib import Path

import pytest
from conftest import REPO, write_recipe

from ra_ner.errors import UserError
from ra_ner.recipe import RecipeParser, load_recipe
from ra_ner.recipe_keys import DatasetConfig, EvaluateConfig, OutputConfig

# Of recipes/experiments: no recipes, but made of them.
GRIDS = ("strategies", "sizes", "inference", "k", "smollm2_mixed", "smollm2_size", "smollm2_gpu")
GRIDS += ("gemma3_en", "gemma3_zh", "beyond_ner", "beyond_ner_relations")
IN_16_BITS = ("en_10k_bf16", "smollm2_gpu_base", "trec_coarse", "trec_fine", "crossre_politics", "crossre_music")
RECIPES = [path for path in sorted((REPO / "recipes").rglob("*.yaml")) if path.stem not in GRIDS]


def dataset_parser() -> RecipeParser:
    return RecipeParser("dataset", DatasetConfig, OutputConfig)


def evaluate_parser() -> RecipeParser:
    return RecipeParser("evaluate", EvaluateConfig, OutputConfig)


def recipe(tmp_path: Path, section: str, language: str = "en") -> str:
    path = tmp_path / "r.yaml"
    path.write_text(f"language: {language}\n{section}", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def train_parser() -> RecipeParser:
    from ra_ner.commands import train as train_sft

    return train_sft.make_parser()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses_strictly_for_all_three_scripts(path, train_parser):
    _, dataset, _ = dataset_parser().parse_recipe([str(path)])
    assert dataset.corpus
    _, evaluate, _ = evaluate_parser().parse_recipe([str(path)])
    assert evaluate.benchmarks
    _, _, model, training, _ = train_parser.parse_recipe([str(path)])
    assert model.load_in_4bit == (path.stem not in IN_16_BITS)
    assert model.use_peft and model.dtype == "bfloat16" and model.use_bnb_nested_quant
    assert training.assistant_only_loss


def test_a_flag_wins_over_the_recipe_and_the_recipe_over_the_default(tmp_path):
    path = recipe(tmp_path, "dataset: {k: 3, seed: 7}")
    _, config, _ = dataset_parser().parse_recipe([path, "--k", "5"])
    assert (config.k, config.seed, config.strategy) == (5, 7, "nn")


@pytest.mark.parametrize("columns", ['{"token": "sentence", "tag": "ner"}', "{token: sentence, tag: ner}"])
def test_a_mapping_is_yaml_or_json_on_the_command_line(tmp_path, columns):
    flags = ["--columns", columns, "--tag_names", '{"1": "B-person"}']
    _, config, _ = dataset_parser().parse_recipe([recipe(tmp_path, "dataset: {}"), *flags])
    assert (config.columns, config.tag_names) == ({"token": "sentence", "tag": "ner"}, {"1": "B-person"})


def test_the_run_is_named_by_the_files_stem(tmp_path):
    _, _, output = dataset_parser().parse_recipe([recipe(tmp_path, "dataset: {}")])
    assert output.output_dir == "outputs/r/dataset"


@pytest.mark.parametrize("name", ["k=2|4", "tags[BIO]", "a: b"])
def test_a_name_that_load_dataset_cannot_take_is_refused(tmp_path, name):
    recipe = write_recipe(tmp_path / f"{name}.yaml", language="en")
    with pytest.raises(UserError, match="names its dataset, which may have no .: rename the file"):
        load_recipe(recipe)


def test_extends_holds_only_what_differs(tmp_path):
    write_recipe(tmp_path / "base.yaml", language="zh", dataset={"k": 4, "seed": 1})
    write_recipe(tmp_path / "middle.yaml", extends="base.yaml", dataset={"k": 3})
    path = write_recipe(tmp_path / "top.yaml", extends="middle.yaml", dataset={"strategy": "none"})
    loaded = load_recipe(path)
    assert loaded.language == "zh"
    assert loaded.sections["dataset"] == {"k": 3, "seed": 1, "strategy": "none"}


def test_the_vanilla_twin_differs_in_its_strategy_alone():
    twin, original = (load_recipe(REPO / f"recipes/{name}.yaml") for name in ("quickstart_vanilla", "quickstart"))
    assert twin.sections["dataset"].pop("strategy") == "none"
    assert original.sections["dataset"].pop("strategy") == "nn"
    assert twin.sections == original.sections


def test_same_named_keys_of_two_sections_do_not_leak(tmp_path):
    path = recipe(tmp_path, "dataset: {k: 4, seed: 1}\nevaluate: {k: 1}")
    _, config, _ = evaluate_parser().parse_recipe([path])
    assert (config.k, config.seed) == (1, 42)


@pytest.mark.parametrize(
    "yaml, key, value",
    [
        ("negative_probability: 1e-1", "negative_probability", 0.1),
        ("negative_probability: 5e-1", "negative_probability", 0.5),
        ("size: null", "size", None),
        ("revision: 0123456", "revision", "0123456"),
        ("revision: 12e4567", "revision", "12e4567"),
        ("revision: 1234e56", "revision", "1234e56"),
        ("size: ~", "size", None),
        ("corpus: '-dash.jsonl'", "corpus", "-dash.jsonl"),
        ("corpus: 2024-01-02", "corpus", "2024-01-02"),
        ("columns: {token: 2, tag: -1}", "columns", {"token": 2, "tag": -1}),
        ("columns: {token: words, tag: labels}", "columns", {"token": "words", "tag": "labels"}),
        ("tag_names: tags.txt", "tag_names", "tags.txt"),
        ("tag_names: {B: B-disease, 1: city}", "tag_names", {"B": "B-disease", "1": "city"}),
        ("check_corpus: false", "check_corpus", False),
    ],
)
def test_yaml_values(tmp_path, yaml, key, value):
    _, config, _ = dataset_parser().parse_recipe([recipe(tmp_path, f"dataset: {{{yaml}}}")])
    assert getattr(config, key) == value


def test_paths_are_relative_to_the_recipe_if_they_are_there(tmp_path):
    (tmp_path / "lang=en").mkdir()
    (tmp_path / "lang=en" / "test.txt").touch()
    paths = ["lang=en/test.txt", "mine=lang=en/test.txt", "lang=en/gone.txt", "sample_en"]
    (tmp_path / "r.yaml").write_text(f"language: en\nevaluate: {{benchmarks: [{', '.join(paths)}]}}")
    resolved = [f"{tmp_path}/lang=en/test.txt", f"mine={tmp_path}/lang=en/test.txt", *paths[2:]]
    assert load_recipe(tmp_path / "r.yaml").evaluate.benchmarks == resolved


def test_lists_and_empty_lists(tmp_path):
    path = recipe(tmp_path, "evaluate: {models: [base, adapter], benchmarks: []}")
    _, config, _ = evaluate_parser().parse_recipe([path])
    assert (config.models, config.benchmarks) == (["base", "adapter"], [])


def test_values_that_transformers_means_as_words_and_trl_takes_as_mappings(tmp_path, train_parser):
    section = """train:
  eval_strategy: no
  save_strategy: no
  packing: false
  report_to: [tensorboard, wandb]
  resume_from_checkpoint: true
  lora_target_modules: all-linear
  learning_rate: 1e-4
  lr_scheduler_kwargs: {num_cycles: 1}
"""
    _, _, model, training, _ = train_parser.parse_recipe([recipe(tmp_path, section)])
    assert training.eval_strategy == "no" and training.save_strategy == "no" and training.packing is False
    assert training.report_to == ["tensorboard", "wandb"]
    assert training.resume_from_checkpoint == "true"
    assert model.lora_target_modules == "all-linear"
    assert training.learning_rate == 1e-4
    assert training.lr_scheduler_kwargs == {"num_cycles": 1}


BAD = [
    ("dataset: {stratgy: nn}", r"unknown key `stratgy`; did you mean `strategy`\?"),
    ("dataset: {strategy: nearest}", "strategy.*invalid choice: 'nearest'.*nn"),
    ("dataset: {k: two}", "k: invalid int value: 'two'"),
    ("dataset: {k: 1.5}", "k: invalid int value: '1.5'"),
    ("dataset: {k: [1]}", "one value is needed, not a list"),
    ("dataset: {k: {a: 1}}", "one value is needed, not a mapping"),
    ("dataset: {k: true}", "not a boolean"),
    ("dataset: {k: null}", "a value is needed"),
    ("dataset: {k: -1}", "section dataset: `k: -1`: at least 0 is needed"),
    ("dataset: {columns: {token: 2}}", "`columns: {'token': 2}`: {token: 1, tag: 3} is needed"),
    ("dataset: {columns: 3}", "`columns: 3`: {token: 1, tag: 3} is needed"),
    ("dataset: {validation_fraction: 10}", "`validation_fraction: 10.0`: a number from 0 to 1 is needed"),
    ("dataset: {k: 1, k: 2}", "line 2: .*key `k` is given twice"),
    ("dataset: {output_dir: x}", "is a command-line flag, not a recipe key"),
    ("dataset: 3", "`dataset` is a section"),
    ("datasets: {}", r"unknown key `datasets`; did you mean `dataset`\?"),
    ("dataset: {k: 1", "not valid YAML"),
    ("extends: r.yaml", "leads back to"),
    ("extends: gone.yaml", "gone.yaml: no such recipe"),
    ("extends: [a.yaml]", "names one recipe file"),
]


@pytest.mark.parametrize("section, message", BAD, ids=[section for section, _ in BAD])
def test_bad_recipes_are_refused_in_one_line(tmp_path, section, message):
    with pytest.raises(UserError, match=message) as error:
        dataset_parser().parse_recipe([recipe(tmp_path, section)])
    assert "\n" not in str(error.value)


def test_unknown_language_missing_file_and_wrong_flags(tmp_path):
    with pytest.raises(UserError, match="language: fr.*en or zh"):
        dataset_parser().parse_recipe([recipe(tmp_path, "dataset: {}", language="fr")])
    for args, message in [
        ([str(tmp_path / "none.yaml")], "no such recipe"),
        ([], "required: recipe"),
        (
            [recipe(tmp_path, "dataset: {}"), "--strateg", "nn"],
            r"unknown argument --strateg; did you mean `strategy`\?",
        ),
        ([recipe(tmp_path, "dataset: {}"), "--k", "x"], "invalid int value"),
    ]:
        with pytest.raises(UserError, match=message):
            dataset_parser().parse_recipe(args)


def test_a_dead_key_answers_with_its_new_name(tmp_path, train_parser):
    from ra_ner.recipe import DEAD_KEYS

    known = {action.dest for action in train_parser._actions}
    for key, advice in DEAD_KEYS.items():
        assert key not in known, f"`{key}` lives again"
        with pytest.raises(UserError) as error:
            train_parser.parse_recipe([recipe(tmp_path, f"train: {{{key}: 1}}")])
        assert f"`{key}` was removed" in str(error.value) and advice in str(error.value)
        if advice.startswith("write `"):
            assert advice.split("`")[1].split(":")[0] in known, f"{key} is translated to a key that does not exist"


def test_a_renamed_key_answers_with_its_new_name(tmp_path):
    """`labels` meant the names of tags here, and the words that labels are asked by in extraction and labels.json."""
    with pytest.raises(UserError, match=r"section dataset: unknown key `labels`; it is called `tag_names` now$"):
        dataset_parser().parse_recipe([recipe(tmp_path, "dataset: {labels: {1: B-person}}")])
    with pytest.raises(UserError, match=r"unknown argument --labels; it is called `tag_names` now$"):
        dataset_parser().parse_recipe([recipe(tmp_path, "dataset: {}"), "--labels", "tags.txt"])


def test_the_nearest_name_of_a_key_that_is_spelt_out(tmp_path, train_parser):
    with pytest.raises(UserError, match=r"unknown key `lora_rank`; did you mean `lora_r`\?"):
        train_parser.parse_recipe([recipe(tmp_path, "train: {lora_rank: 8}")])


def test_what_trl_itself_refuses_is_one_line_too(tmp_path, train_parser):
    with pytest.raises(UserError, match="section train: .*sometimes"):
        train_parser.parse_recipe([recipe(tmp_path, "train: {save_strategy: sometimes}")])


def test_relative_paths_are_looked_for_beside_the_recipe_first(tmp_path, monkeypatch):
    here, elsewhere = tmp_path / "recipes", tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_recipe(here / "base.yaml", language="en", dataset={"corpus": "my.conll", "encoder": "models/encoder"})
    write_recipe(here / "own.yaml", extends="base.yaml", evaluate={"benchmarks": ["mine=test", "sample_en"]})
    (here / "my.conll").touch()
    (here / "test").mkdir()
    (elsewhere / "my.conll").touch()
    (elsewhere / "models" / "encoder").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    sections = load_recipe(here / "own.yaml").sections
    assert sections["dataset"] == {"corpus": str(here / "my.conll"), "encoder": "models/encoder"}
    assert sections["evaluate"]["benchmarks"] == [f"mine={here / 'test'}", "sample_en"]
    assert load_recipe("../recipes/own.yaml").sections["dataset"]["corpus"] == "../recipes/my.conll"


@pytest.mark.parametrize("name", ["zh_10k", "zh_10k.yaml", "recipes/zh_10k.yaml"])
def test_built_in_recipes_are_found_by_name_from_any_folder(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert load_recipe(name).path == REPO / "recipes" / "zh_10k.yaml"
    write_recipe(tmp_path / "own.yaml", extends=name, dataset={"size": 7})
    assert load_recipe("own.yaml").language == "zh"


def test_a_recipe_that_is_nowhere_is_refused_with_the_places_and_the_nearest_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"zh_10.yaml: no such recipe \(looked in /.* and among the built-in ones\); did"
    ):
        load_recipe("zh_10.yaml")
    write_recipe(tmp_path / "zh_10k.yaml", language="en")
    assert load_recipe("zh_10k.yaml").language == "en", "one's own file comes first"
