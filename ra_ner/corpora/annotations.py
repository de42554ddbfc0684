"""What a reader makes of a row: a text and annotations. Their offsets are checked here, for all forms alike."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import starmap

from ..errors import UserError
from ..passage import Entity
from ..prompting.answers import Span, cuts_a_word, find_mention

NOT_FOUND = "mentions_not_in_text"
WRONG_OFFSETS = "mentions_with_wrong_offsets"
DISCONTINUOUS = "discontinuous_mentions"
TRIMMED = "mentions_trimmed"
BLANK = "mentions_of_blanks_dropped"
FROM_UTF16 = "offsets_converted_from_utf16"
NOT_ANNOTATED = "not_annotated"


# Marks that no mention begins with, and that none ends with.
_ENDS, _OPENS = frozenset(",.!?;:，。！？；：、)）"), frozenset(",;:，；：、(（")


class Malformed(str):
    """Why something that should be a row of a corpus is none."""


class NotAnnotatedError(Exception):
    """A row that its annotators have not finished, or have rejected."""


@dataclass
class Annotation:
    """A mention as a row gives it. Offsets are in characters, end exclusive, until they are found to be others.

    Attributes:
        text: the mention; None if the offsets alone say it.
        is_discontinuous: it has several parts in the text, so that no offsets can hold it.
    """

    type: str
    text: str | None = None
    start: int | None = None
    end: int | None = None
    is_discontinuous: bool = False


@dataclass
class Draft:
    """A text and its annotations.

    Attributes:
        annotations: entities are taken as they are; they are the gold of a task that is not mentions.
        is_ours: in our own form a wrong offset makes a row malformed, and an unknown one stays so. In other forms
            such a mention gets no offsets, and mentions without any are looked for in the text.
        asked: of questions about the text, the types that they ask.
    """

    text: str
    annotations: list[Annotation | Entity]
    id: str | None = None
    is_ours: bool = False
    asked: list[str] = field(default_factory=list)


@dataclass
class Context:
    """What readers know of the corpus besides the row.

    Attributes:
        tag_names: what values in the corpus are called, see `tags.read_tag_names`.
        columns: the keys or columns of tokens and tags, if the user says them.
        scheme: what tags follow, see `tags.find_scheme`.
        has_tables: CSV and TSV files are rows with keys.
    """

    language: str
    tag_names: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, int | str] = field(default_factory=dict)
    scheme: str = ""
    has_tables: bool = False

    @property
    def space(self) -> str:
        """What stands between two tokens."""
        return "" if self.language == "zh" else " "

    def type_of(self, label: object) -> str:
        """The type that a label names."""
        name = self.tag_names.get(str(label), label)
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"{label!r} is not the name of a type: name it with `tag_names` in section dataset")
        return name


def find_unit(drafts: Iterable[Draft], check: bool) -> bool:
    """Whether offsets without mentions count UTF-16 units rather than characters.

    What hardly any annotator marks, such as parts of words, shows which of the two is wrong.

    Args:
        check: refuse offsets that mostly cut words, as those with an inclusive end or in bytes do.

    Raises:
        UserError: more than half of them do.
    """
    marked = [
        (Span(one.start, one.end), draft.text)
        for draft in drafts
        for one in draft.annotations
        if one.text is None and type(one.start) is type(one.end) is int
    ]
    in_units = [(_from_utf16(span, text) if _has_wide(text) else span, text) for span, text in marked]
    is_utf16 = sum(starmap(_is_odd, in_units)) < sum(starmap(_is_odd, marked))
    inside = [(span, text) for span, text in (in_units if is_utf16 else marked) if _is_inside(span, text)]
    cut = [(text[slice(*span)], text) for span, text in inside if cuts_a_word(span, text)]
    if check and len(cut) > len(marked) / 2:
        mention, text = cut[0]
        raise UserError(
            f"{len(cut)} of {len(marked)} mentions cut a word, such as {mention!r} in {text[:60]!r}: offsets must "
            "count characters, or UTF-16 units, and their end must be exclusive; if they are right, write "
            "`check_corpus: false` in section dataset"
        )
    return is_utf16


def resolve(draft: Draft, is_utf16: bool, counts: Counter[str]) -> list[Entity]:
    """The entities of a draft, without outer white space.

    Args:
        is_utf16: of offsets without mentions.

    Raises:
        ValueError: an offset is outside of the text, or, in our own form, not that of its mention.
    """
    entities = []
    for annotation in draft.annotations:
        if not isinstance(annotation.type, str) or not annotation.type.strip():
            raise ValueError("the type of an entity must be a non-empty string")
        for entity in _locate(annotation, draft, is_utf16, counts):
            if trimmed := _trim(entity, counts):
                entities.append(trimmed)
    return list(dict.fromkeys(entities)) if not draft.is_ours else entities


def _locate(annotation: Annotation | Entity, draft: Draft, is_utf16: bool, counts: Counter[str]) -> list[Entity]:
    """An entity for each place of an annotation."""
    if isinstance(annotation, Entity):
        return [annotation]
    text, mention, type_ = draft.text, annotation.text, annotation.type
    span = _span(annotation)
    if mention is not None and (not isinstance(mention, str) or not mention):
        raise ValueError("a mention must be a non-empty string")
    if annotation.is_discontinuous:
        counts[DISCONTINUOUS] += 1
        return [Entity(mention, type_)]
    if span is None and mention is None:
        raise ValueError("an entity needs a mention or offsets")
    if span is None and draft.is_ours:
        return [Entity(mention, type_)]
    if span is None:
        places = find_mention(mention, text)
        counts[NOT_FOUND] += not places
        return [Entity(mention, type_, *place) for place in places] or [Entity(mention, type_)]
    if mention is None:
        place = _from_utf16(span, text) if is_utf16 and _has_wide(text) else span
        if not _is_inside(place, text):
            raise ValueError(f"offsets {span.start} to {span.end} are outside of the text, or not in that order")
        counts[FROM_UTF16] += place != span
        return [Entity(text[place.start : place.end], type_, *place)]
    if place := _matching(span, mention, draft, counts):
        return [Entity(text[place.start : place.end], type_, *place)]
    if draft.is_ours:
        raise ValueError(f"entity {mention!r}: text[{span.start}:{span.end}] is not that mention")
    counts[WRONG_OFFSETS] += 1
    return [Entity(mention, type_)]


def _span(annotation: Annotation) -> Span | None:
    """The offsets of an annotation, None if they are unknown."""
    start, end = annotation.start, annotation.end
    if start is None and end is None:
        return None
    if type(start) is not int or type(end) is not int:
        raise ValueError(f"offsets {start!r} and {end!r}: both must be whole numbers, or null")
    return Span(start, end)


def _matching(span: Span, mention: str, draft: Draft, counts: Counter[str]) -> Span | None:
    """The place that offsets name: in characters or UTF-16 units, with an exclusive end or, in forms of others, an
    inclusive one. The mention decides."""
    ends = [span] if draft.is_ours else [span, Span(span.start, span.end + 1)]
    places = [(place, False) for place in ends]
    if _has_wide(draft.text):
        places += [(place, True) for units in ends if (place := _from_utf16(units, draft.text))]
    for says in (_says,) if draft.is_ours else (_says, _says_words):
        for place, is_converted in places:
            if says(draft.text, place, mention):
                if is_converted:
                    counts[FROM_UTF16] += 1
                return place
    return None


def _says(text: str, place: Span, mention: str) -> bool:
    # Slices of Python go on beyond a text.
    return 0 <= place.start < place.end <= len(text) and text[place.start : place.end] == mention


def _says_words(text: str, place: Span, mention: str) -> bool:
    """Whether the words are the same: brat writes a line break in a mention as a blank."""
    words = text[place.start : place.end].split() if _is_inside(place, text) else []
    return words != [] and words == mention.split()


def _trim(entity: Entity, counts: Counter[str]) -> Entity | None:
    """An entity without outer white space; None if it has nothing else."""
    mention = entity.text.strip()
    if mention == entity.text:
        return entity
    if not mention:
        counts[BLANK] += 1
        return None
    counts[TRIMMED] += 1
    if entity.start is None:
        return Entity(mention, entity.type)
    start = entity.start + len(entity.text) - len(entity.text.lstrip())
    return Entity(mention, entity.type, start, start + len(mention))


def _has_wide(text: str) -> bool:
    """Whether a text has characters of two UTF-16 units, such as emoji."""
    return max(text, default="") > "\uffff"


def _from_utf16(span: Span, text: str) -> Span | None:
    """A span of UTF-16 units in characters; None if it is outside of the text or halves a character."""
    units = text.encode("utf-16-le", "surrogatepass")
    if not 0 <= span.start <= span.end <= len(units) // 2:
        return None
    try:
        return Span(*(len(units[: 2 * offset].decode("utf-16-le")) for offset in span))
    except UnicodeDecodeError:
        return None


def _is_inside(span: Span | None, text: str) -> bool:
    return span is not None and 0 <= span.start < span.end <= len(text)


def _is_odd(span: Span | None, text: str) -> bool:
    """Whether hardly any annotator would mark a span."""
    if not _is_inside(span, text):
        return True
    first, last = text[span.start], text[span.end - 1]
    return first.isspace() or last.isspace() or first in _ENDS or last in _OPENS or cuts_a_word(span, text)
