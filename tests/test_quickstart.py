"""Slow checks on the real embedded models, after `make quickstart`; run by `make slow-test`."""

import json
import shutil
from collections import defaultdict
from dataclasses import asdict

import pytest
import torch
from conftest import REPO, run_command
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from ra_ner import Extractor
from ra_ner.corpora.sources import load_corpus
from ra_ner.inference.cpu import prepare_for_cpu
from ra_ner.inference.engine import Request
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.prompting.chat_template import prompt_ids
from ra_ner.prompting.conversation import WORDINGS, query
from ra_ner.tasks.scoring import score_all

pytestmark = pytest.mark.slow

RUN = REPO / "outputs" / "quickstart"
BASE = REPO / "models" / "smollm2-135m-instruct"


def test_the_adapter_beats_its_base_zero_shot():
    results = json.loads((RUN / "evaluation" / "scores.json").read_text())["results"]
    f1 = {result["model"]: result["span"]["f1"] for result in results if result["setting"] == "zero_shot"}
    assert f1.keys() == {"base", "quickstart_vanilla", "quickstart"}
    assert f1["quickstart"] > f1["base"] and f1["quickstart_vanilla"] > f1["base"]


def test_the_budget_is_kept():
    tokenizer = AutoTokenizer.from_pretrained(RUN / "adapter")
    tokens = 0
    for name in ("quickstart", "quickstart_vanilla"):
        rows = load_dataset(str(REPO / "outputs" / name / "dataset"), name, split="train")
        tokens += sum(
            len(tokenizer.apply_chat_template(r["prompt"] + r["completion"], return_dict=False)) for r in rows
        )
    results = json.loads((RUN / "evaluation" / "scores.json").read_text())["results"]
    print(f"{tokens} training tokens, {results[0]['queries']} queries a model and setting")
    assert tokens <= 50_000 and all(result["queries"] <= 150 for result in results)


def test_the_evaluation_prompt_is_a_token_prefix_of_the_training_row():
    tokenizer, base = AutoTokenizer.from_pretrained(RUN / "adapter"), AutoTokenizer.from_pretrained(BASE)
    for row in load_dataset(str(RUN / "dataset"), "quickstart", split="train"):
        ids = tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False)
        asked = prompt_ids(tokenizer, row["prompt"])
        assert ids[: len(asked)] == asked == prompt_ids(base, row["prompt"])


def test_shared_prefill_gives_the_answers_of_plain_generation():
    wording = WORDINGS["ra_it", "en"]
    engine = TransformersEngine(BASE, RUN / "adapter", dtype="float32", max_new_tokens=32)
    prepare_for_cpu(engine.model)
    plain = AutoModelForCausalLM.from_pretrained(RUN / "adapter", dtype=torch.float32)
    examples = load_corpus(str(REPO / "data" / "sample" / "en.jsonl"), "en").passages[:2]
    for passage in load_corpus(str(REPO / "data" / "sample" / "en_test.jsonl"), "en").passages[:3]:
        requests = [
            Request(passage.text, query(passage.text, entity_type, examples, wording)) for entity_type in passage.types
        ]
        for request, answer in engine.answer(requests):
            ids = torch.tensor([prompt_ids(engine.tokenizer, request.messages)])
            new = plain.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=32)
            assert answer.text == engine.tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True)


@pytest.mark.parametrize("setting, options", [("zero_shot", {}), ("in_domain-nn", {"examples": "sample_en"})])
def test_extraction_gives_the_predictions_of_evaluation(setting, options):
    """Equal but for mentions that the text does not contain, and with the same examples."""
    lines = (RUN / "evaluation" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    texts = json.loads((RUN / "evaluation" / "texts.json").read_text(encoding="utf-8"))["sample_en"]
    passages = defaultdict(list)
    for row in map(json.loads, lines):
        if (row["model"], row["setting"]) == ("quickstart", setting):
            passages[row["passage_id"]].append(row)
    ner = Extractor.from_pretrained(str(RUN / "adapter"), strategy="nn", max_new_tokens=32, **options)
    compared = 0
    for id_, rows in passages.items():
        found = ner.extract(texts[id_], [row["type"] for row in rows])
        assert [example["id"] for example in found.examples_used] == rows[0]["example_ids"]
        for row in rows:
            ours = {entity.text for entity in found if entity.type == row["type"] and entity.alignment == "exact"}
            predicted = {mention for mention in row["predicted"] if mention in texts[id_]}
            assert ours == predicted
            compared += len(predicted)
    assert compared > 20


@pytest.mark.parametrize("setting, strategy", [("zero_shot", "none"), ("in_domain-nn", "nn")])
def test_extraction_over_crossner_music_scores_as_evaluation(shared, tmp_path, monkeypatch, setting, strategy):
    """To the digit, where evaluation's predictions are without the mentions that the text does not contain."""
    monkeypatch.chdir(REPO)
    music, folder = shared / "data" / "en" / "crossner_music", tmp_path / "crossner_music"
    folder.mkdir()
    test, train = (load_corpus(str(music / f"{part}.jsonl"), "en").passages for part in ("test", "train"))
    test = test[:20]
    train = [passage for passage in train if passage.text not in {passage.text for passage in test}][:32]
    for name, passages in (("test", test), ("train", train)):
        lines = (json.dumps(asdict(passage)) + "\n" for passage in passages)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    shutil.copyfile(music / "labels.json", folder / "labels.json")
    args = ["--models", "adapter", "--benchmarks", f"music={folder}", "--settings", setting, "--limit", 20]
    run_command("evaluate", "recipes/quickstart.yaml", *args, "--output_dir", tmp_path / "evaluation")
    lines = (tmp_path / "evaluation" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    texts = json.loads((tmp_path / "evaluation" / "texts.json").read_text(encoding="utf-8"))["music"]

    options = {"strategy": strategy, "max_new_tokens": 32, "labels": json.loads((folder / "labels.json").read_text())}
    ner = Extractor.from_pretrained(str(RUN / "adapter"), train, **options)
    types = list(dict.fromkeys(row["type"] for row in rows))
    found = dict(zip(texts, ner.extract(texts.values(), types), strict=True))
    extracted, held = [], []
    for row in rows:
        entities = [e for e in found[row["passage_id"]] if e.type == row["type"] and e.alignment == "exact"]
        extracted.append({**row, "predicted": list(dict.fromkeys(entity.text for entity in entities))})
        held.append({**row, "predicted": [m for m in row["predicted"] if m in texts[row["passage_id"]]]})
    scores = [score_all(part, {"music": texts})["results"] for part in (extracted, held)]
    print(setting, scores[0][0]["span"])
    assert scores[0] == scores[1] and sum(len(row["predicted"]) for row in held) > 3
