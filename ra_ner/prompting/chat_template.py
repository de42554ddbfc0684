"""Chat templates: the one that is trained, and the prompts that it renders for training, evaluation and extraction."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .conversation import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATES = Path(__file__).parent / "chat_templates"

_PROBE = [
    {"role": "user", "content": " Text: a 'b' \"c\" \n"},
    {"role": "assistant", "content": "I've read this text."},
    {"role": "user", "content": "What describes d in the text?"},
    {"role": "assistant", "content": '["a", "b"]'},
]


def training_chat_template(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The tokenizer's chat template with `{% generation %}` marks around assistant turns.

    It is the tokenizer's own if that has marks, else TRL's training version of it, else a file of this project that
    renders the same.

    Raises:
        UserError: the tokenizer has no chat template, or none of the three exists.
    """
    from trl.chat_template_utils import get_training_chat_template

    if not tokenizer.chat_template:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template; name one with `chat_template_path`, such "
            "as chatml.jinja, and its end-of-turn token with `eos_token`"
        )
    if "{% generation" in tokenizer.chat_template or "{%- generation" in tokenizer.chat_template:
        return tokenizer.chat_template
    try:
        if twin := get_training_chat_template(tokenizer):
            return twin
    except ValueError:  # TRL has no training version of this template
        pass
    for file in sorted(TEMPLATES.glob("*.jinja")):
        twin = file.read_text(encoding="utf-8")
        if _renders_the_same(tokenizer, twin):
            return twin
    raise UserError(
        f"no training template is known for the chat template of {tokenizer.name_or_path}; copy it, put "
        "{% generation %} ... {% endgeneration %} around the assistant's content and its end-of-turn token, and name "
        "the file with `chat_template_path`"
    )


def _renders_the_same(tokenizer: "PreTrainedTokenizerBase", twin: str) -> bool:
    cases = [(_PROBE, False), (_PROBE[:3], True), ([{"role": "system", "content": "s"}, *_PROBE], False)]

    def render(messages: list[Message], add: bool, template: str | None = None) -> str:
        return tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            add_generation_prompt=add,
            tokenize=False,
            date_string="26 Jul 2024",  # Llama 3.2 would write today's
        )

    return all(render(*case) == render(*case, twin) for case in cases)


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: list[Message]) -> list[int]:
    """Token ids of a prompt, up to where the answer begins. Control tokens inside the messages are encoded as text."""
    return all_prompt_ids(tokenizer, [messages])[0]


def all_prompt_ids(tokenizer: "PreTrainedTokenizerBase", prompts: list[list[Message]]) -> list[list[int]]:
    """As `prompt_ids` for each of several prompts, in a fifth less time."""
    return tokenizer.apply_chat_template(
        prompts, add_generation_prompt=True, sanitize_control_tokens=True, return_dict=False
    )


def load_training_tokenizer(
    model: str, revision: str | None = None, chat_template_path: str | None = None, trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """Load a model's tokenizer with its training chat template.

    Args:
        chat_template_path: a file, or the name of one that ships with this project, such as `llama3.jinja`.

    Raises:
        UserError: the tokenizer or the file can't be read, or there is no training template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model, revision=revision or "main", trust_remote_code=trust_remote_code
        )
        if chat_template_path:
            file = Path(chat_template_path)
            tokenizer.chat_template = (file if file.exists() else TEMPLATES / file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"tokenizer of {model!r} can't be loaded: {error}") from None
    tokenizer.chat_template = training_chat_template(tokenizer)
    return tokenizer


def training_length(tokenizer: "PreTrainedTokenizerBase") -> Callable[[list[Message]], int]:
    """A function that counts the tokens of a training conversation."""
    return lambda messages: len(tokenizer.apply_chat_template(messages, return_dict=False))


def control_tokens(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Strings that the tokenizer reads as control tokens everywhere, even inside a text."""
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def holds_control_token(messages: list[Message], control: Sequence[str]) -> bool:
    """Whether a message contains one of the control tokens."""
    return any(token in message["content"] for message in messages for token in control)


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The token that ends an assistant's turn, where generation must stop."""
    rendered = tokenizer.apply_chat_template(_PROBE, return_dict=True, return_assistant_tokens_mask=True)
    trained = [id for id, mask in zip(rendered["input_ids"], rendered["assistant_masks"], strict=True) if mask]
    control = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    return tokenizer.convert_ids_to_tokens(next((id for id in reversed(trained) if id in control), trained[-1]))
