"""What a trained model answers to the questions that its card shows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ..prompting.chat_template import end_of_turn, prompt_ids
from ..prompting.conversation import Message, query
from ..tasks import find_wording, task_of

if TYPE_CHECKING:
    from trl import SFTTrainer

MAX_NEW_TOKENS = 32


def shown_prompts(facts: dict) -> dict[str, list[Message]]:
    """The prompts of a card by what they show; one with an example only if the model was trained with examples."""
    wording = find_wording(facts["wording"], facts["language"])
    asked, example = task_of(facts["wording"]).sample(facts["language"])
    prompts = {"no example": query(asked.text, asked.types[0], [], wording)}
    if facts["k"]:
        prompts["one example"] = query(asked.text, asked.types[0], [example], wording)
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
