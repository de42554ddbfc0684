"""The RA-IT dataset: rows, splits, and a folder that `load_dataset` reads."""

import json
import re
from dataclasses import replace
from html import escape
from importlib.metadata import version

import pytest
from conftest import HUB, byte_level_tokenizer, passage, run_command, write_recipe
from datasets import load_dataset
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from ra_ner.corpora.benchmarks import load_benchmark
from ra_ner.corpora.sources import LoadedCorpus, load_corpus
from ra_ner.dataset.build import FEATURES, build, training_passages, write
from ra_ner.errors import UserError
from ra_ner.markdown import cell, fence, table
from ra_ner.prompting.answers import parse_answer
from ra_ner.prompting.chat_template import TEMPLATES, control_tokens, holds_control_token, training_length
from ra_ner.recipe import load_recipe
from ra_ner.recipe_keys import DatasetConfig


@pytest.fixture
def config(models) -> DatasetConfig:
    return DatasetConfig(encoder=str(models / "encoder"), size=20, validation_fraction=0.25)


@pytest.fixture
def passages():
    return load_corpus("data/sample/en.jsonl", "en").passages


@pytest.fixture(scope="module")
def tokenizer():
    """A token is a byte or a control token of ChatML."""
    tokenizer = byte_level_tokenizer()
    tokenizer.chat_template = (TEMPLATES / "smollm2.jinja").read_text(encoding="utf-8")
    return tokenizer


def lengths(dataset, tokenizer) -> list[int]:
    """Tokens of each training row."""
    count = training_length(tokenizer)
    return [count(row["prompt"] + row["completion"]) for row in rows(dataset)]


def rows(dataset, split="train"):
    return dataset.splits[split].to_list()


def test_rows_ask_for_every_positive_type_and_answer_it(passages, config):
    by_id = {p.id: p for p in passages}
    for row in rows(build(LoadedCorpus(passages, None, {}), "en", "r", config)):
        messages = row["prompt"] + row["completion"]
        source = by_id[row["id"]]
        asked = [m["content"].removeprefix("What describes ").removesuffix(" in the text?") for m in messages[4::2]]
        answers = [parse_answer(message["content"]) for message in messages[5::2]]
        assert set(source.types) <= set(asked) and len(asked) == len(set(asked))
        for type_, answer in zip(asked, answers, strict=True):
            assert answer.strict and list(answer.mentions) == source.mentions(type_)


def test_examples_come_from_the_train_split_and_are_never_the_passage(passages, config):
    dataset = build(LoadedCorpus(passages, None, {}), "en", "r", config)
    train = {row["id"] for row in rows(dataset)}
    validation = {row["id"] for row in rows(dataset, "validation")}
    assert len(train) == 15 and len(validation) == 5 and not train & validation
    for row in rows(dataset) + rows(dataset, "validation"):
        assert len(row["example_ids"]) == len(row["example_scores"]) == 2
        assert set(row["example_ids"]) <= train - {row["id"]}
        assert row["example_scores"] == sorted(row["example_scores"], reverse=True)


def test_the_vanilla_twin_has_the_same_rows_in_the_same_order(passages, config):
    ra_it = build(LoadedCorpus(passages, None, {}), "en", "r", config)
    config.strategy = "none"
    vanilla = build(LoadedCorpus(passages, None, {}), "en", "r", config)
    for split in ("train", "validation"):
        for left, right in zip(rows(ra_it, split), rows(vanilla, split), strict=True):
            assert left["id"] == right["id"] and left["completion"] == right["completion"]
            assert left["prompt"][2:] == right["prompt"] and right["example_ids"] == []


def test_a_share_of_the_train_rows_shows_no_examples(passages, config, tmp_path):
    source = LoadedCorpus(passages, None, {})
    always, half, never = (
        build(source, "en", "r", replace(config, examples_probability=share)) for share in (1.0, 0.5, 0.0)
    )
    vanilla = build(source, "en", "r", replace(config, strategy="none"))
    kept = [bool(row["example_ids"]) for row in rows(half)]
    assert 0 < sum(kept) < len(kept)
    for row, with_examples, without in zip(rows(half), rows(always), rows(vanilla), strict=True):
        assert row in (with_examples, without)
    assert half.facts["counts"]["rows_drawn_without_examples"] == kept.count(False)
    assert rows(half, "validation") == rows(always, "validation")
    assert rows(half, "validation_zero_shot") == rows(vanilla, "validation")
    assert always.splits.keys() == never.splits.keys() == {"train", "validation"}
    for split in ("train", "validation"):
        for name, dataset in (("never", never), ("vanilla", vanilla)):
            dataset.splits[split].to_parquet(tmp_path / name)
        assert (tmp_path / "never").read_bytes() == (tmp_path / "vanilla").read_bytes()


def test_the_seed_decides(passages, config):
    source = LoadedCorpus(passages, None, {})
    first, second, other = (build(source, "en", "r", replace(config, seed=seed)) for seed in (42, 42, 1))
    assert rows(first) == rows(second) != rows(other)


def test_examples_are_dropped_until_a_row_fits_and_never_an_answer(passages, config, tokenizer):
    source = LoadedCorpus(passages, None, {})
    free, vanilla = (build(source, "en", "r", replace(config, strategy=strategy)) for strategy in ("nn", "none"))
    config.max_length = max(lengths(vanilla, tokenizer)) + 50
    assert max(lengths(free, tokenizer)) > config.max_length
    fitted = build(source, "en", "r", config, tokenizer)
    assert max(lengths(fitted, tokenizer)) <= config.max_length
    pairs = list(zip(rows(free), rows(fitted), strict=True))
    assert all(row["completion"] == fit["completion"] for row, fit in pairs)
    assert all(row["example_ids"][: len(fit["example_ids"])] == fit["example_ids"] for row, fit in pairs)
    dropped = sum(len(row["example_ids"]) - len(fit["example_ids"]) for row, fit in pairs)
    assert 0 < dropped <= fitted.facts["counts"]["dropped_examples"]
    assert fitted.facts["tokens"]["longest"] <= config.max_length
    assert fitted.facts["counts"]["split_too_long"] == fitted.facts["counts"]["dropped_too_long"] == 0


def test_a_text_that_alone_is_too_long_is_split_at_sentence_ends(config, tokenizer):
    sentences = [f"Ada met Bo{i} in Rome." for i in range(9)]
    mentions = [("Ada", "person"), ("Rome", "city"), *((f"Bo{i}", "person") for i in range(9))]
    long = passage(" ".join(sentences), *mentions, id="long")
    short = [passage(f"Bo saw river {i}.", ("Bo", "person"), id=str(i)) for i in range(3)]
    config.size, config.validation_fraction, config.max_length = None, 0, 420
    corpus = LoadedCorpus([*short, long], None, {})
    dataset = build(corpus, "en", "r", config, tokenizer)
    parts = [row for row in rows(dataset) if row["id"].startswith("long#")]
    counts = dataset.facts["counts"]
    assert len(parts) > 1 and counts["split_too_long"] == 1 and counts["dropped_too_long"] == 0
    texts = {
        part["id"]: next(m["content"] for m in reversed(part["prompt"]) if "Text: " in m["content"]) for part in parts
    }
    assert " ".join(texts[f"long#{i}"].removeprefix("Text: ") for i in sorted(int(k[5:]) for k in texts)) == long.text
    assert max(lengths(dataset, tokenizer)) <= 420
    trained = training_passages(corpus, "en", config, tokenizer)
    assert [p.id for p in trained] == [row["id"] for row in rows(dataset)], "evaluation's out-of-domain pool"

    unbroken = passage("word " * 200 + "Ada", ("Ada", "person"), id="unbroken")
    facts = build(LoadedCorpus([*short, unbroken], None, {}), "en", "r", config, tokenizer).facts
    counts = facts["counts"]
    assert (counts["split_too_long"], counts["dropped_too_long"], facts["rows"]) == (0, 1, {"train": 3})
    config.max_length = 10
    with pytest.raises(UserError, match="no text fits into `max_length: 10`"):
        build(LoadedCorpus(short, None, {}), "en", "r", config, tokenizer)


@pytest.mark.parametrize("strategy", ["nn", "none"])
def test_passages_with_control_tokens_are_neither_rows_nor_examples(config, tokenizer, strategy):
    config.size, config.validation_fraction, config.strategy = None, 0, strategy
    passages = [passage(f"Ada met Bo in city {i}.", ("Ada", "person"), id=str(i)) for i in range(4)]
    passages[1] = passage("Ada met <|im_end|> in city 1.", ("Ada", "person"), id="in the text")
    passages[2] = passage("Ada met Bo in town 2.", ("Ada", "<|im_start|>"), id="in a type")
    dataset = build(LoadedCorpus(passages, None, {}), "en", "r", config, tokenizer)
    assert [row["id"] for row in sorted(rows(dataset), key=lambda row: row["id"])] == ["0", "3"]
    assert dataset.facts["counts"]["dropped_control_tokens"] == 2
    control = control_tokens(tokenizer)
    assert not any(holds_control_token(row["prompt"] + row["completion"], control) for row in rows(dataset))


def test_a_k_larger_than_the_pool_takes_what_there_is_and_says_so(passages, config, capsys):
    config.size, config.k, config.validation_fraction = 4, 9, 0
    dataset = build(LoadedCorpus(passages, None, {}), "en", "r", config)
    assert [len(row["example_ids"]) for row in rows(dataset)] == [3, 3, 3, 3]
    assert "k is 9, but the pool has only 4 passages: rows show fewer examples" in capsys.readouterr().out


def test_passages_of_a_benchmark_are_excluded_and_counted_by_rule(passages, config, tmp_path):
    tested = load_benchmark("sample_en", "en").test
    leaked = [*tested[:3], replace(tested[3], text=f"{tested[3].text.upper()} And so on.")]
    config.size, config.exclude = None, ["sample_en"]
    dataset = build(LoadedCorpus(passages + leaked, None, {}), "en", "r", config)
    counts = dataset.facts["counts"]
    assert counts["dropped_contaminated"] == 4 and sum(dataset.facts["rows"].values()) == len(passages)
    assert (counts["contaminated_same_text"], counts["contaminated_shared_run"]) == (3, 1)
    write(dataset, tmp_path / "d")
    card = (tmp_path / "d" / "README.md").read_text(encoding="utf-8")
    assert "| contaminated shared run | 1 |" in card and "by the test parts of sample_en" in card
    assert "shares 50 characters in a row" in card and "75% of the 6-character n-grams" in card


def test_a_corpus_that_is_left_out_as_a_whole_is_refused_with_the_reason(config):
    config.exclude = ["sample_en"]
    tested = load_benchmark("sample_en", "en").test
    with pytest.raises(UserError, match=r"no passage is left to train on: passages_read 40, dropped_contaminated 40,"):
        build(LoadedCorpus(tested, None, {}), "en", "r", config)


def test_counts_of_what_was_left_out(config, models):
    passages = [passage("same", ("same", "t"), id="1"), passage("same", ("same", "u"), id="2"), passage("x", id="3")]
    config.size, config.validation_fraction = None, 0
    facts = build(LoadedCorpus(passages, None, {}), "en", "r", config).facts
    counts = facts["counts"]
    assert (counts["merged_duplicates"], counts["dropped_without_entities"], facts["rows"]) == (1, 1, {"train": 1})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"wording": "released_zh"}, "wording released_zh is not for language en; use ra_it, released_en"),
        ({"validation_fraction": 1.0}, "no passage to train on"),
    ],
)
def test_keys_that_do_not_fit(passages, config, change, message):
    with pytest.raises(UserError, match=message):
        build(LoadedCorpus(passages, None, {}), "en", "r", DatasetConfig(**{**vars(config), **change}))


def test_the_folder_loads_and_a_second_build_is_byte_identical(passages, config, tmp_path):
    dataset = build(LoadedCorpus(passages, None, {}), "en", "r", config)
    write(dataset, tmp_path / "one")
    write(build(LoadedCorpus(passages, None, {}), "en", "r", config), tmp_path / "two")
    files = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*") if p.is_file()}
    assert files == {
        p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*") if p.is_file()
    }
    assert len(files) == 5
    loaded = load_dataset(str(tmp_path / "one"))
    assert loaded["train"].features == FEATURES
    assert {split: part.to_list() for split, part in loaded.items()} == {s: rows(dataset, s) for s in loaded}
    assert json.loads(files[next(p for p in files if p.name == "ra_it.json")])["rows"] == {"train": 15, "validation": 5}


def test_load_dataset_sees_a_rebuilt_folder(passages, config, tmp_path):
    for size in (20, 12):
        config.size = size
        write(build(LoadedCorpus(passages, None, {}), "en", "r", config), tmp_path / "dataset")
        assert len(load_dataset(str(tmp_path / "dataset"), "r")["train"]) == size * 3 // 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dataset"], "no temporary folder is left"


def test_text_in_the_card_stays_text(config, tmp_path):
    config.size, config.validation_fraction = None, 0
    passages = [
        passage("a ``` b\n---\n# <b>x</b>", ("``` b\n---", "t`|y"), id="1"),
        passage("~~~ other", ("other", "t"), id="2"),
    ]
    write(build(LoadedCorpus(passages, None, {}), "en", "r", config), tmp_path / "d")
    card = (tmp_path / "d" / "README.md").read_text(encoding="utf-8")
    assert card.count("````") == 2 * 2, "the rows' own backticks can't close its block"
    assert "| t\\`\\|y | 1 |" in card
    assert load_dataset(str(tmp_path / "d"))["train"].num_rows == 2


@given(st.text())
def test_a_table_cell_is_one_line_without_markup(text):
    row = table(["a"], [[text]]).split("\n")[2:]
    assert len(row) == 1
    assert "|" not in cell(text).replace("\\|", "") and "<" not in cell(text).replace("\\<", "")


@given(st.text(alphabet="_a1*`[]()<>&|~$!#- \\"))
@example("__PER__")
def test_a_table_cell_is_shown_as_the_text_is(text):
    html = MarkdownIt().enable(["table", "strikethrough"]).render(table(["a", "b"], [["1", text]]))
    assert f">{escape(' '.join(text.split()))}</td>\n</tr>" in html


@given(st.text(alphabet="`a\n"))
def test_a_fence_is_longer_than_any_run_inside(text):
    opening = fence(text).split("\n")[0]
    assert opening.strip("`") == "" and opening not in text


def test_the_vanilla_conversations_are_those_of_the_release(golden, config):
    """But for the order of turns and the types drawn at random, whose answer is []; one of them asks nothing at all."""
    golden = golden / "golden" / "sky_ner_conversations_released.json"
    config = replace(config, strategy="none", wording="released_zh", size=None, validation_fraction=0)
    made = {row["id"]: row for row in rows(build(load_corpus(str(golden), "zh"), "zh", "r", config))}
    conversations = json.loads(golden.read_text(encoding="utf-8"))
    released = {row["id"]: row for row in conversations if len(row["conversations"]) > 2}
    assert made.keys() == released.keys() and len(made) > 5
    for id_, row in made.items():
        ours = [message["content"] for message in row["prompt"] + row["completion"]]
        theirs = [turn["value"] for turn in released[id_]["conversations"]]
        assert ours[:2] == theirs[:2]
        asked, asked_there = (set(zip(turns[2::2], turns[3::2], strict=True)) for turns in (ours, theirs))
        positive = {turn for turn in asked_there if turn[1] != "[]"}
        assert positive == {turn for turn in asked if turn[1] != "[]"} and positive


def test_the_card_says_how_the_rows_were_made(here):
    folder = here / "outputs" / "quickstart" / "dataset"
    facts = json.loads((folder / "quickstart" / "ra_it.json").read_text(encoding="utf-8"))
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: unknown" in card and "Source: sample_en" in card
    assert facts["corpus"]["form"] == "{id, text, entities}"
    assert f"| tokens | {' | '.join(str(n) for n in facts['tokens'].values())} |" in card
    assert (
        "| dropped contaminated | 0 |" in card and "strategy: nn" in card and f"datasets {version('datasets')}" in card
    )
    table = card.split("What happened to its passages:")[1].split("The most frequent")[0]
    counted = dict(re.findall(r"^\| (.+) \| (\d+) \|$", table, re.MULTILINE))
    assert counted == {key.replace("_", " "): str(number) for key, number in facts["counts"].items()}, "and no types"
    most, count = next(iter(facts["passages_of_type"].items()))
    assert f"| {most} | {count} |" in card
    shown = load_dataset(str(folder), split="train")[:3]["prompt"]
    assert all(prompt[-1]["content"] in card for prompt in shown) and len(shown) == 3
    assert "2406.17305" in card and "2308.03279" in card


def test_most_texts_repeated_with_the_same_types_stop_the_build(passages, config):
    config.size, config.strategy = None, "none"
    repeated = [replace(p, id=f"{p.id}-{i}") for p in passages[:10] for i in range(3)]
    with pytest.raises(UserError, match="20 of 30 passages repeat the text of another one, .*`check_corpus: false`"):
        training_passages(LoadedCorpus(repeated, None, {}), "en", config)
    config.check_corpus = False
    assert training_passages(LoadedCorpus(repeated, None, {}), "en", config)


def test_a_row_for_each_type_of_a_text_is_no_repeat(config):
    config.size, config.strategy, config.validation_fraction = None, "none", 0
    types = ("city", "person", "river", "month")
    asked = [passage("Ada left Oslo", ("Oslo" if type_ == "city" else "Ada", type_), id=type_) for type_ in types]
    (merged,) = training_passages(LoadedCorpus(asked, None, {}), "en", config)
    assert merged.types == list(types)


def test_the_columns_and_tag_names_of_a_recipe_reach_the_corpus(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tags.txt").write_text("O\nB-city\n", encoding="utf-8")
    (tmp_path / "a.tsv").write_text("\n\n".join(f"NN\tOslo{n}\t1\nVB\tgrows\t0" for n in range(9)), encoding="utf-8")
    keys = {"corpus": "a.tsv", "columns": {"token": 2, "tag": 3}, "tag_names": "tags.txt", "strategy": "none"}
    run_command("build", write_recipe(tmp_path / "r.yaml", language="en", dataset=keys | {"max_length": None}))
    assert "read as tagged text, tokens in column 2, tags in column 3 (BIO); for example 'Oslo0' (city)" in (
        capsys.readouterr().out
    )
    facts = json.loads((tmp_path / "outputs" / "r" / "dataset" / "r" / "ra_it.json").read_text(encoding="utf-8"))
    assert facts["corpus"]["form"] == "tagged text, tokens in column 2, tags in column 3 (BIO)"
    assert facts["config"]["columns"] == {"token": 2, "tag": 3}


def test_a_dry_run_shows_the_plan_and_writes_nothing(workplace, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    flags = ["--output_dir", tmp_path / "d", "--dry_run", "--push_to_hub", "--hub_dataset_id", "tester/dry"]
    assert run_command("build", "recipes/quickstart.yaml", *flags) is None
    said = capsys.readouterr().out
    assert '"strategy": "nn"' in said and 'rows: {"train": 10, "validation": 2}' in said
    assert "[user] Here are some examples" in said and "[assistant] [" in said
    assert not list(tmp_path.iterdir()) and ("dataset", "tester/dry") not in HUB.repos


def test_the_script_fits_rows_by_the_tokenizer_that_will_train_them(workplace, tmp_path, monkeypatch):
    from transformers import AutoTokenizer

    monkeypatch.chdir(workplace)
    args = ["recipes/quickstart.yaml", "--output_dir", tmp_path / "d", "--max_length", 1500]
    folder = run_command("build", *args)
    facts = json.loads((folder / "quickstart" / "ra_it.json").read_text())
    assert facts["counts"]["dropped_examples"] > 0
    model = load_recipe("recipes/quickstart.yaml").sections["train"]["model_name_or_path"]
    tokenizer = AutoTokenizer.from_pretrained(model)
    for row in load_dataset(str(folder), split="train"):
        assert len(tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False)) <= 1500
    with pytest.raises(UserError, match="`max_length` needs train.model_name_or_path"):
        recipe = write_recipe(tmp_path / "r.yaml", language="en", dataset={"corpus": "data/sample/en.jsonl"})
        run_command("build", recipe, "--max_length", 1500, "--strategy", "none")


def test_negative_types_are_those_of_the_train_split_alone(config):
    source = [
        passage(f"Ada saw thing {i}.", ("Ada", "person"), (f"thing {i}", f"type {i}"), id=str(i)) for i in range(20)
    ]
    config = replace(config, strategy="none", negative_probability=1.0, validation_fraction=0.5, size=None)
    dataset = build(LoadedCorpus(source, None, {}), "en", "r", config)
    held_out = {f"type {row['id']}" for row in rows(dataset, "validation")}
    asked = {message["content"] for row in rows(dataset) for message in row["prompt"] + row["completion"]}
    assert len(held_out) == 10 and not any(f"What describes {type_} in the text?" in asked for type_ in held_out)


def test_each_row_has_an_order_of_its_own(config):
    types = [(mention, f"type {mention}") for mention in "abcde"]
    source = [passage(f"a b c d e {i}", *types, id=str(i)) for i in range(8)]
    config = replace(config, strategy="none", negative_probability=0, validation_fraction=0, size=None)
    dataset = build(LoadedCorpus(source, None, {}), "en", "r", config)
    orders = {tuple(m["content"] for m in row["completion"] if m["role"] == "user") for row in rows(dataset)}
    assert len(orders) > 4
