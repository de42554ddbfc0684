"""Answers that can only copy: whatever a model would say, each answer is a list of substrings of its text."""

import json

import numpy as np
import pytest
import torch
from conftest import byte_level_tokenizer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from ra_ner.errors import UserError
from ra_ner.inference.copying import Copier, copy_grammar, is_copied
from ra_ner.inference.engine import Request
from ra_ner.inference.models import find_model, load_engine
from ra_ner.inference.transformers import TransformersEngine
from ra_ner.prompting.answers import parse_answer
from ra_ner.prompting.conversation import WORDINGS, query

LENGTH = 80  # tokens of an answer; what is not finished by then is finished by hand


def sentencepiece_tokenizer() -> PreTrainedTokenizerFast:
    """Pieces of words with ▁ for a space, and bytes for all other characters, as Gemma has them."""
    pieces = ["<eos>", *(f"<0x{byte:02X}>" for byte in range(256)), *'▁▁a▁b[]",\\n北', '["', '",', "京。"]
    tokenizer = Tokenizer(models.BPE({p: i for i, p in enumerate(dict.fromkeys(pieces))}, [], byte_fallback=True))
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
        for answer, state, token in zip(answers, rows[0], tokens, strict=True):
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
