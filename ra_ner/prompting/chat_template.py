"""Chat templates: the one that is trained, and the prompts that it renders for training, evaluation and extraction."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .conversation import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATES = Path(__file__).parent / "chat_templates"
RENDER_SECONDS = 20  # for one conversation: a template is a program of the model's author

_PROBE = [
    {"role": "user", "content": " Text: a 'b' \"c\" \n"},
    {"role": "assistant", "content": "I've read this text."},
    {"role": "user", "content": "What describes d in the text?"},
    {"role": "assistant", "content": '["a", "b"]'},
]


def load_tokenizer(model: Path | str, chat_template: str | None = None, **options: object) -> "PreTrainedTokenizerBase":
    """Load a model's tokenizer.

    Args:
        chat_template: used instead of the tokenizer's own.
        options: of `from_pretrained`.

    Raises:
        UserError: it can't be loaded, or has no chat template.
    """
    tokenizer = _load(model, **options)
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    if not tokenizer.chat_template:
        raise UserError(f"the tokenizer of {model} has no chat template, so it can't be asked in conversations")
    return tokenizer


def _load(model: Path | str, **options: object) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model, **options)
    except Exception as error:  # the tokenizers in Rust raise nothing more special
        raise UserError(f"the tokenizer of {model} can't be loaded: {error}") from None


@contextmanager
def _rendering(tokenizer: "PreTrainedTokenizerBase") -> Iterator[None]:
    """Turn what a template raises into a `UserError`, and end one that does not end.

    Signals reach the main thread alone, so others wait.
    """
    is_main = threading.current_thread() is threading.main_thread()

    def end(*_: object) -> None:
        raise TimeoutError(f"it takes more than {RENDER_SECONDS} seconds")

    if is_main:
        handler, timer = signal.signal(signal.SIGALRM, end), signal.setitimer(signal.ITIMER_REAL, RENDER_SECONDS)
    try:
        yield
    except Exception as error:
        raise UserError(f"the chat template of {tokenizer.name_or_path} fails: {error}") from None
    finally:
        if is_main:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            signal.setitimer(signal.ITIMER_REAL, *timer)  # a caller's own


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
    with suppress(UserError), _rendering(tokenizer):  # it raises if it has no training version of this template
        if twin := get_training_chat_template(tokenizer):
            return twin
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

    def render(messages: list[Message], add: bool, template: str | None = None) -> str | None:
        try:
            with _rendering(tokenizer):
                return tokenizer.apply_chat_template(
                    messages,
                    chat_template=template,
                    add_generation_prompt=add,
                    tokenize=False,
                    date_string="26 Jul 2024",  # Llama 3.2 would write today's
                )
        except UserError:  # some templates refuse a system message
            return None

    return all(render(*case) == render(*case, twin) for case in cases)


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: list[Message]) -> list[int]:
    """Token ids of a prompt, up to where the answer begins. Control tokens inside the messages are encoded as text."""
    return all_prompt_ids(tokenizer, [messages])[0]


def all_prompt_ids(tokenizer: "PreTrainedTokenizerBase", prompts: list[list[Message]]) -> list[list[int]]:
    """As `prompt_ids` for each of several prompts, in about a quarter less time."""
    with _rendering(tokenizer):
        return tokenizer.apply_chat_template(
            prompts, add_generation_prompt=True, sanitize_control_tokens=True, return_dict=False
        )


def load_training_tokenizer(
    model: str, revision: str | None = None, chat_template_path: str | None = None, trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """Load a model's tokenizer with its training chat template.

    Args:
        chat_template_path: a file, or the name of one that ships with this project or with TRL, such as `llama3.jinja`.

    Raises:
        UserError: the tokenizer or the file can't be read, or there is no training template.
    """
    tokenizer = _load(model, revision=revision or "main", trust_remote_code=trust_remote_code)
    if chat_template_path:
        of_trl = Path(find_spec("trl").origin).parent / "chat_templates"
        places = [folder / chat_template_path for folder in (Path(), TEMPLATES, of_trl)]
        file = next((place for place in places if place.exists()), places[0])
        try:
            tokenizer.chat_template = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"`chat_template_path: {file}`: can't be read ({error})") from None
    tokenizer.chat_template = training_chat_template(tokenizer)
    training_length(tokenizer)(_PROBE)  # a template that fails does so before the work begins
    return tokenizer


def training_length(tokenizer: "PreTrainedTokenizerBase") -> Callable[[list[Message]], int]:
    """A function that counts the tokens of a training conversation."""

    def count(messages: list[Message]) -> int:
        with _rendering(tokenizer):
            return len(tokenizer.apply_chat_template(messages, return_dict=False))

    return count


def control_tokens(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Strings that the tokenizer reads as control tokens everywhere, even inside a text."""
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def holds_control_token(messages: list[Message], control: Sequence[str]) -> bool:
    """Whether a message contains one of the control tokens."""
    return any(token in message["content"] for message in messages for token in control)


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The token that ends an assistant's turn, where generation must stop."""
    with _rendering(tokenizer):
        rendered = tokenizer.apply_chat_template(_PROBE, return_dict=True, return_assistant_tokens_mask=True)
    trained = [id for id, mask in zip(rendered["input_ids"], rendered["assistant_masks"], strict=True) if mask]
    control = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    return tokenizer.convert_ids_to_tokens(next((id for id in reversed(trained) if id in control), trained[-1]))
