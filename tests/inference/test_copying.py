"""Answers that can only copy: whatever a model would say, each answer is a list of substrings of its text."""

import json

import numpy as np
import pytest
import torch
from conftest import byte_level_tokenizer, run_command
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from ra_ner import Extractor
from ra_ner.errors import UserError
from ra_ner.inference.copying import Copier, is_copied
from ra_ner.inference.engine import Request
from ra_ner.inference.models import find_model, load_engine
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.prompting.answers import copyable_parts, parse_answer
from ra_ner.prompting.conversation import WORDINGS, query

LENGTH = 80  # tokens of an answer; what is not finished by then is finished by hand


def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """Pieces of words with ▁ for a space, and bytes for all other characters, as Gemma has them."""
    pieces = ["<eos>", *(f"<0x{byte:02X}>" for byte in range(256)), *'▁▁a▁b[]",\\n北', '["', '",', "京。"]
    tokenizer = Tokenizer(BPE({p: i for i, p in enumerate(dict.fromkeys(pieces))}, [], byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<eos>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")


@pytest.fixture(scope="module", params=["byte_level", "sentencepiece"])
def copier(request):
    tokenizer = {"byte_level": byte_level_tokenizer, "sentencepiece": sentencepiece_tokenizer}[request.param]()
    copier = Copier(tokenizer, len(tokenizer) + 5, [tokenizer.eos_token_id])  # models have a few tokens too many
    copier.tokenizer = tokenizer
    return copier


def answers_of_chance(copier: Copier, text: str, count: int, seed: int) -> list[str]:
    """Answers of a model with random logits, from which it does not end an item or a list for long."""
    rng, rows, answers = np.random.default_rng(seed), [copier.start(text, count)], [[] for _ in range(count)]
    for step in range(LENGTH):
        logits = torch.from_numpy(rng.normal(size=(1, count, len(copier.tokenizer) + 5)).astype("float32"))
        ending = [
            i
            for i, t in enumerate(copier.tokenizer.convert_ids_to_tokens(range(len(copier.tokenizer))))
            if t in ('"', "]")
        ]
        logits[..., ending] += 0 if step < LENGTH // 2 else 20
        tokens = copier.choose(rows, logits)[0].tolist()
        for answer, token in zip(answers, tokens, strict=True):
            if token != copier.tokenizer.eos_token_id:
                answer.append(token)
        if all(state.is_stopped() for state in rows[0]):
            break
    return [copier.tokenizer.decode(answer) for answer in answers]


TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("\"\\ ,[]\n'“”、「」北京é"))).map(str)


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.integers(0, 9))
@example('"Rome", "Paris"', 0)
@example('He said "so" and [“no”]，\\n\n', 1)
@example("北京\ud800大学🙂", 2)
@example("", 3)
@example("::= start: %regex", 4)
def test_each_answer_is_a_list_of_substrings(copier, text, seed):
    for answer in answers_of_chance(copier, text, 3, seed):
        assert is_copied(answer, text), answer
        parsed = parse_answer(answer)
        assert parsed.error is None and all(mention in text for mention in parsed.mentions)


@given(TEXTS, st.data())
def test_each_list_of_substrings_can_be_said(text, data):
    """In the form that training has: what a model says without the constraint stays what it is."""
    copier = Copier(BYTES, len(BYTES), [BYTES.eos_token_id])
    text = "".join(copyable_parts(text)[:1])
    ends = st.integers(0, len(text))
    places = data.draw(st.lists(st.tuples(ends, ends), max_size=3))
    answer = WORDINGS["ra_it", "zh"].format_answer([text[start:end] for start, end in places])
    (state,) = copier.start(text, 1)
    assert state.consume_tokens(BYTES(answer).input_ids) and state.is_stopped()


BYTES = byte_level_tokenizer()


@pytest.mark.parametrize("mode", ["query", "conversation"])
@pytest.mark.parametrize("text", ["The Rhine flows past Basel.", '他说：“北京”和"上海"。', 'a\\b\n"c"'])
def test_a_model_that_says_nothing_sensible_can_only_copy(models, text, mode):
    """The tiny model has random weights: without the constraint no answer is a list."""
    asked = [Request(text, query(text, type_, [], WORDINGS["ra_it", "en"])) for type_ in ("city", "river", "a lake")]
    for copy_only in (False, True):
        engine = TransformersEngine(models / "lm", dtype="float32", copy_only=copy_only, with_pieces=True)
        if mode == "query":
            answers = [answer for _, answer in engine.answer(asked)]
            assert all(all(p <= 0 for _, p in answer.pieces) for answer in answers)
            answers = [answer.text for answer in answers]
        else:
            answers = engine.converse(asked)
        finished = [is_copied(answer, text) for answer in answers]
        cut_off = [is_copied(answer.rpartition(", ")[0] + "]", text) for answer in answers]
        assert all(map(any, zip(finished, cut_off, strict=True))) == copy_only, answers


def test_long_texts_can_be_copied_from():
    copier, text = Copier(BYTES, len(BYTES), [BYTES.eos_token_id]), "The Rhine flows past Basel. 莱茵河。\n" * 1000
    (state,) = copier.start(text, 1)
    assert state.consume_tokens(BYTES(f'["{text[100:120]}"]').input_ids)


def test_what_copy_only_can_not_constrain(models):
    with pytest.raises(UserError, match="released_zh.*leave it out"):
        load_engine(find_model(str(models / "lm"), wording="released_zh", language="zh"), copy_only=True)
    ner = Extractor.from_pretrained(str(models / "lm"), copy_only=True)
    with pytest.raises(UserError, match="`copy_only` needs types"):
        ner.extract("In Bonn.")


def test_an_evaluation_with_copy_only_asks_anew(workplace, monkeypatch, tmp_path):
    monkeypatch.chdir(workplace)
    for copy_only in (False, True):
        keys = {"models": "base", "settings": "zero_shot", "copy_only": copy_only, "output_dir": tmp_path / "e"}
        flags = [flag for key, value in keys.items() for flag in (f"--{key}", value)]
        scores = run_command("evaluate", "recipes/quickstart.yaml", *flags)
        rows = [json.loads(line) for line in (tmp_path / "e" / "predictions.jsonl").read_text("utf-8").splitlines()]
        assert all(row["raw_answer"].startswith("[") for row in rows) == scores["config"]["copy_only"] == copy_only
    assert "could only list substrings" in (tmp_path / "e" / "report.md").read_text("utf-8")
    assert len((tmp_path / "e" / "answers.jsonl").read_text("utf-8").splitlines()) == 2 * len(rows)
