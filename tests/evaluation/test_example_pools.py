"""Settings: where the examples of an evaluation come from."""

import json
import math
from dataclasses import replace

import pytest
from conftest import passage, write_recipe

from ra_ner.corpora.benchmarks import Benchmark
from ra_ner.errors import UserError
from ra_ner.evaluation.example_pools import ExamplePools, check_settings
from ra_ner.recipe import load_recipe
from ra_ner.recipe_keys import EvaluateConfig

TEST = [passage("Ada met Bo in Rome at noon.", ("Ada", "person"), id="t1"), passage("Zug", ("Zug", "city"), id="t2")]
TRAIN = [
    passage("Ada met Bo in Bonn at dusk.", ("Ada", "person"), id="near"),
    *(passage(f"word{i} apart", (f"word{i}", "x"), id=f"far{i}") for i in range(20)),
]


@pytest.fixture
def pools(tmp_path, models):
    """Settings over a recipe whose corpus holds one passage on Zug and others that are like nothing."""
    texts = ["In Zug it rains, in Zug.", *(f"corpus{i} word" for i in range(20))]
    rows = [
        {"id": str(i), "text": text, "entities": [{"text": text[:3], "type": "t", "start": 0, "end": 3}]}
        for i, text in enumerate(texts)
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = {"corpus": str(tmp_path / "corpus.jsonl"), "encoder": str(models / "encoder"), "validation_fraction": 0}
    recipe = load_recipe(write_recipe(tmp_path / "r.yaml", language="en", dataset=dataset))
    return ExamplePools(recipe, EvaluateConfig(k=1))


@pytest.fixture
def benchmark():
    return Benchmark("b", TEST, TRAIN, None, "open")


def ids(chosen):
    return [[example.passage.id for example in examples] for examples in chosen]


def test_zero_shot_shows_none_and_the_others_show_their_pool(pools, benchmark):
    assert ids(pools.examples("zero_shot", benchmark, TEST)) == [[], []]
    assert ids(pools.examples("in_domain-bm25", benchmark, TEST))[0] == ["near"]
    assert ids(pools.examples("out_domain-bm25", benchmark, TEST))[1] == ["0"]
    drawn = {example for examples in ids(pools.examples("in_domain-random", benchmark, TEST)) for example in examples}
    assert drawn <= {p.id for p in TRAIN} and len(drawn) == 2


def test_the_in_domain_pool_is_drawn_by_seed(pools, benchmark):
    def pool(seed):
        pools.config = EvaluateConfig(in_domain_pool=8, seed=seed)
        return {p.id for p in pools.in_domain(benchmark)}

    assert len(pool(42)) == len(pool(67)) == 8 and pool(42) == pool(42) != pool(67)


def test_on_demand_takes_in_domain_examples_then_others_then_none(pools, benchmark):
    strange = passage("Quite unlike them all", id="t3")
    # The threshold decides: the first passage has a neighbour in the train part, the second one in the corpus.
    assert ids(pools.examples("on_demand", benchmark, [*TEST, strange])) == [["near"], ["0"], []]
    assert ids(pools.examples("on_demand", replace(benchmark, train=[]), TEST[1:])) == [["0"]]


def test_a_threshold_that_was_chosen_for_a_model_decides_on_demand(pools, benchmark):
    for threshold, shown in ((0, [["near"], ["near"]]), (0.3, [["near"], ["0"]]), (math.inf, [[], []])):
        assert ids(pools.examples("on_demand", benchmark, TEST, threshold)) == shown


def test_texts_of_the_test_part_are_dropped_from_the_in_domain_pool_and_counted(pools, benchmark, capsys):
    leaky = replace(benchmark, train=[*TRAIN, passage("ada  met Bo in Rome at noon.", id="leak")])
    pools.config = replace(pools.config, settings=["in_domain-bm25"])
    pools.check(leaky)
    assert "benchmark b: 1 of 22 passages of its train part are in its test part" in capsys.readouterr().out
    assert ids(pools.examples("in_domain-bm25", leaky, TEST))[0] == ["near"] and pools.dropped(leaky) == 1
    pools.config = replace(pools.config, in_domain_pool=21)
    assert len(pools.in_domain(leaky)) == 21, "the pool is drawn from what is left"
    pools.config = replace(pools.config, allow_overlap=True)
    assert ids(pools.examples("in_domain-bm25", leaky, TEST))[0] == ["leak"] and pools.dropped(leaky) == 0


def test_a_pool_is_refused_if_nothing_is_left_or_if_the_model_was_trained_on_test_texts(pools, benchmark):
    pools.config = replace(pools.config, settings=["in_domain-bm25"])
    with pytest.raises(UserError, match="all 2 passages of the train part of benchmark b are in its test part"):
        pools.check(replace(benchmark, train=TEST))
    pools.config = replace(pools.config, settings=["out_domain-bm25"])
    for text in ("in zug it rains,  in Zug.", "In Zug it rains , in Zug ."):  # the second one is tokenised
        seen = replace(benchmark, test=[passage(text, id="t")])
        with pytest.raises(UserError, match="1 of 21 passages of the pool are in the test part of benchmark b: .*excl"):
            pools.check(seen)


def test_all_pools_are_checked_before_one_is_searched(pools, benchmark):
    pools.config = replace(pools.config, settings=["zero_shot", "in_domain-nn", "out_domain-nn", "on_demand"])
    pools.check(benchmark)
    assert "encoder" not in vars(pools), "no encoder is loaded for that"
    with pytest.raises(UserError, match="benchmark c has no train part"):
        pools.check(replace(benchmark, name="c", train=[]))


def test_a_pool_of_the_users_own(pools, benchmark, here):
    pools.config = replace(pools.config, pool="data/sample/en.jsonl")
    chosen = ids(pools.examples("out_domain-random", benchmark, TEST))
    assert all(example.startswith("en-") for examples in chosen for example in examples), chosen


def test_what_is_missing_or_unknown(pools, benchmark, tmp_path):
    with pytest.raises(UserError, match="b has no train part to take in-domain examples from"):
        pools.examples("in_domain-bm25", replace(benchmark, train=[]), TEST)
    bare = ExamplePools(load_recipe(write_recipe(tmp_path / "bare.yaml", language="en")), EvaluateConfig())
    with pytest.raises(UserError, match="need `pool`, or `corpus`"):
        bare.examples("out_domain-bm25", benchmark, TEST)
    with pytest.raises(UserError, match="unknown setting 'on_demnd'; did you mean on_demand"):
        check_settings(["zero_shot", "on_demnd"])


@pytest.mark.parametrize("key", ["models", "benchmarks", "settings"])
def test_an_evaluation_of_nothing_is_refused(pools, key):
    config = replace(EvaluateConfig(benchmarks=["sample_en"]), **{key: []})
    with pytest.raises(UserError, match=f"r.yaml: section evaluate names no `{key}`"):
        ExamplePools(pools.recipe, config).benchmarks()
