"""The forms of corpora: how each is recognised by its rows, and which reader makes a passage of a row."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import UserError
from ..passage import Passage
from . import benchmark_forms, conversation_forms, span_forms, token_forms
from .annotations import Context, Draft

LOOKED_AT = 100  # rows by which a form is recognised


@dataclass(frozen=True)
class Form:
    """A form of a corpus.

    Attributes:
        name: as in the documentation and in messages.
        recognises: whether a row has this form; None if the kind of file decides it.
        read: makes a draft of a row.
        prepare: looks at all rows before they are read, completes the context, and says what it found.
    """

    name: str
    recognises: Callable[[object], bool] | None
    read: Callable[[object, Context], Draft]
    prepare: Callable[[Sequence[object], Context], str] | None = None


def _as_read(row: Draft, context: Context) -> Draft:
    for annotation in row.annotations:
        annotation.type = context.type_of(annotation.type)
    return row


def has_keys(*keys: str) -> Callable[[object], bool]:
    """Rows with all of these keys."""
    return lambda row: isinstance(row, dict) and row.keys() >= {*keys}


def _has(*keys: str) -> Callable[[object], bool]:
    """Rows with a text and entities, and with one of these keys in a row or in one of its entities."""

    def recognises(row: object) -> bool:
        if not span_forms.has_spans(row):
            return False
        inner = [key for value in row.values() if isinstance(value, list) for item in value for key in _keys(item)]
        return any(key in row or key in inner for key in keys)

    return recognises


def _keys(item: object) -> list[str]:
    return list(item) if isinstance(item, dict) else []


TAGGED = Form("CoNLL text", None, token_forms.read_tags)
BRAT = Form("brat", None, _as_read)
PUBTATOR = Form("PubTator", None, _as_read)
DOCBIN = Form("spaCy DocBin", None, _as_read)
TOKENS = Form("{tokens, ner_tags}", token_forms.has_tags, token_forms.read_tags, token_forms.prepare_tags)
OURS = Form("{id, text, entities}", span_forms.is_ours, span_forms.read_ours)

# The first that fits a row is taken: special forms stand before general ones.
ROW_FORMS = [
    Form("ShareGPT or messages", conversation_forms.is_conversation, conversation_forms.read_conversation),
    Form("alpaca", conversation_forms.is_alpaca, conversation_forms.read_alpaca),
    Form("GLiNER, SpERT or W2NER", token_forms.has_token_spans, token_forms.read_token_spans),
    TOKENS,
    Form("spaCy tuples", span_forms.is_spacy, span_forms.read_spacy),
    Form("Label Studio", span_forms.is_label_studio, span_forms.read_label_studio),
    Form("CLUENER", span_forms.is_cluener, span_forms.read_cluener),
    Form("RA-IT {sentence, label}", benchmark_forms.has_mention_types, benchmark_forms.read_mention_types),
    Form("MRC {context, label}", token_forms.is_mrc, token_forms.read_mrc),
    Form("UIE", has_keys("content", "prompt", "result_list"), span_forms.read_uie),
    OURS,
    Form("Prodigy", _has("answer", "_input_hash"), span_forms.read_spans),
    Form("CMeEE", _has("start_idx"), span_forms.read_spans),
    Form("Yidu", _has("originalText"), span_forms.read_spans),
    Form("InstructUIE or B2NERD", _has("sentence", "name"), span_forms.read_spans),
    Form("{text, entity_list}", _has("entity_list"), span_forms.read_spans),
    Form("doccano", span_forms.has_entities, span_forms.read_spans),
]
# One passage on each line of a text file.
LINE_FORMS = [
    Form("Boson", benchmark_forms.is_marked_up, benchmark_forms.read_marked_up),
    Form("CHIP 2020", benchmark_forms.is_barred, benchmark_forms.read_barred),
    Form("MSRA words with tags", benchmark_forms.is_words_with_tags, benchmark_forms.read_words_with_tags),
]
FILE_FORMS = [TAGGED, *LINE_FORMS, BRAT, PUBTATOR, DOCBIN]
FORMS = [OURS, *FILE_FORMS, *(form for form in ROW_FORMS if form is not OURS)]


@dataclass(frozen=True)
class Reading:
    """How a task reads rows.

    Attributes:
        forms: those of its rows, the special ones before the general ones.
        has_tables: CSV and TSV files are rows with keys, as JSON is, and other text is in no form.
        finish: completes passages, given all passages that are asked alike; `types` of passages are then its own.
    """

    forms: Sequence[Form]
    has_tables: bool = True
    finish: Callable[[list[Passage], list[Passage]], list[Passage]] | None = None

    def finished(self, passages: list[Passage], alike: list[Passage]) -> list[Passage]:
        return self.finish(passages, alike) if self.finish else passages


NER_READING = Reading(ROW_FORMS, has_tables=False)


def recognise(rows: Sequence[object], source: str, reading: Reading = NER_READING) -> Form:
    """The form that most of the first rows have.

    Raises:
        UserError: it is none that is known.
    """
    fitting = [next((form for form in reading.forms if form.recognises(row)), None) for row in rows[:LOOKED_AT]]
    if known := Counter(form for form in fitting if form):
        return known.most_common(1)[0][0]
    if OURS in reading.forms and any(map(span_forms.has_spans, rows[:LOOKED_AT])):
        return OURS  # no row has an entity
    raise unknown_form(source, reading)


def form_names() -> str:
    return "; ".join(form.name for form in FORMS)


def unknown_form(source: str, reading: Reading = NER_READING) -> UserError:
    if reading.has_tables:
        names = "; ".join(form.name for form in reading.forms)
        return UserError(
            f"{source}: unknown form. Known are: {names}. Rename its fields; docs/beyond_ner.md shows a row"
        )
    return UserError(
        f"{source}: unknown form. Known are: {form_names()}. docs/corpora.md shows a row of each; for tagged text "
        "that is not recognised, write `columns: {token: 1, tag: 2}` in section dataset"
    )
