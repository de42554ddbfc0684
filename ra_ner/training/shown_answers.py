"""What a trained model answers to the questions that its card shows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..passage import Entity, Passage
from ..prompting.chat_template import end_of_turn, prompt_ids
from ..prompting.conversation import Message, find_wording, query

if TYPE_CHECKING:
    from trl import SFTTrainer

# By language: a text, a type to ask for, the right mentions; and an example with its text, a mention and its type.
SHOWN = {
    "en": ("Ada Lovelace lived in London.", "city", ["London"], ("The Rhine flows past Basel.", "Basel", "city")),
    "zh": ("鲁迅生于绍兴。", "城市", ["绍兴"], ("莱茵河流经巴塞尔。", "巴塞尔", "城市")),
}
MAX_NEW_TOKENS = 32


def shown_prompts(facts: dict) -> dict[str, list[Message]]:
    """The prompts of a card by what they show; one with an example only if the model was trained with examples."""
    wording = find_wording(facts["wording"], facts["language"])
    text, asked, _, example = SHOWN[facts["language"]]
    prompts = {"no example": query(text, asked, [], wording)}
    if facts["k"]:
        shown = Passage("", example[0], (Entity(*example[1:], None, None),))
        prompts["one example"] = query(text, asked, [shown], wording)
    return prompts


@torch.inference_mode()
def answer(trainer: "SFTTrainer", prompts: Sequence[list[Message]]) -> list[str]:
    """What the trained model answers, greedily. Call it after training, with a model that this process holds whole."""
    tokenizer, model = trainer.processing_class, trainer.model.eval()
    stop, answers = tokenizer.convert_tokens_to_ids(end_of_turn(tokenizer)), []
    for messages in prompts:
        ids = torch.tensor([prompt_ids(tokenizer, messages)], device=model.device)
        new = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            use_cache=True,
            eos_token_id=stop,
            pad_token_id=stop,
        )
        answers.append(tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True))
    return answers
