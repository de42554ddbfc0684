"""Checkpoints released by others: their wording and chat template, which their repos do not contain."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownCheckpoint:
    """How a model must be asked. `chat_template` is a file of ra_ner/prompting/chat_templates."""

    language: str
    wording: str
    system: str
    chat_template: str


# UniversalNER (arXiv 2308.03279): its cards, and src/ of github.com/universal-ner/universal-ner, with a straight
# apostrophe. UniNER-7B-definition is not here: it is asked for definitions instead of types.
_UNINER = KnownCheckpoint(
    language="en",
    wording="ra_it",
    system="A virtual assistant answers questions from a user based on the provided text.",
    chat_template="uniner.jinja",
)

# RA-IT (arXiv 2406.17305): its training and evaluation scripts (zh) and its demo (en).
KNOWN_CHECKPOINTS = {
    **dict.fromkeys((f"Universal-NER/UniNER-7B-{data}" for data in ("type", "type-sup", "all")), _UNINER),
    "EmmaStrong/RA-IT-NER-8B": KnownCheckpoint(
        language="en",
        wording="released_en",
        system="A virtual assistant answers questions from a user based on the provided text.",
        chat_template="llama3.jinja",
    ),
    "EmmaStrong/RA-IT-NER-zh-7B": KnownCheckpoint(
        language="zh",
        wording="released_zh",
        system="You are a helpful assistant.",
        chat_template="chatml.jinja",
    ),
}
