"""Tags of tokens: which scheme they follow, and which entities they mark."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..errors import UserError

ENOUGH = 0.8  # share of the tags that must follow a scheme; the others are malformed
ENOUGH_OUTSIDE = 0.2  # share of O among tags without a prefix
MOST_TYPES = 200  # of tags without a prefix: more distinct values are words, not types

OUTSIDE = {"O", "o", "-", "_"}
_PREFIXED = re.compile(r"([BIMELSUW])[-_:](\S.*)", re.IGNORECASE)
_SUFFIXED = re.compile(r"(.*\S)[-_:]([BIMELSUW])")
_JOINT = re.compile("[|,]")
_TYPE = re.compile(r"[^\W\d_](?:.*\w)?")
_BRACKETS = re.compile(r"(?:\(([^()*]+))?\*?(\)?)")  # of CoNLL-2012: (PERSON* *) (ORG) *
_SCHEMES = {"I": "IO", "BI": "BIO", "BEIS": "BIOES", "BILU": "BILOU", "BEMS": "BMES"}

Piece = tuple[str, str]  # prefix and type


def find_scheme(tags: Counter[str], are_tags: bool = False) -> str | None:
    """The scheme that tags follow: `prefix`, `suffix`, `brackets` or `type`; None if there is no evidence for one.

    Tags that are types alone need more evidence than others, since any words could be: many of them are O, and the
    types are few.

    Args:
        tags: how often each tag occurs.
        are_tags: they are known to be tags, so that types need no evidence.
    """
    total = tags.total()
    for scheme in ("prefix", "brackets", "suffix"):
        pieces = {tag: read_tag(tag, scheme) for tag in tags}
        share = sum(count for tag, count in tags.items() if pieces[tag] is not None) / total
        if share >= ENOUGH and any(pieces.values()):
            return scheme
    types = [tag for tag in tags if tag not in OUTSIDE]
    if not types and (tags["O"] or tags["o"]):
        return "prefix"  # a file without entities
    if is_untyped(tags) or not all(map(_TYPE.fullmatch, types)) or sum(map(bool, map(_PREFIXED.fullmatch, types))) > 1:
        return None
    is_clear = tags["O"] >= ENOUGH_OUTSIDE * total and len(types) <= min(MOST_TYPES, max(2, total / 2))
    return "type" if are_tags or is_clear else None


def is_untyped(tags: Iterable[str]) -> bool:
    """Whether tags are prefixes without a type: B, I and O."""
    return set(tags) <= set("BIMELSUWO") and set(tags) != {"O"}


def read_tag(tag: str, scheme: str) -> list[Piece] | None:
    """The prefixes and types of a tag: empty outside of entities, several in a joint tag `B-ORG|B-LOC`, None if the tag
    does not follow the scheme."""
    if scheme == "brackets":
        return _read_brackets(tag)
    if tag in OUTSIDE:
        return []
    if scheme == "type":
        return [("I", tag)] if _TYPE.fullmatch(tag) else None
    pieces = []
    pattern = _PREFIXED if scheme == "prefix" else _SUFFIXED
    parts = _JOINT.split(tag)
    if not all(part in OUTSIDE or pattern.fullmatch(part) for part in parts):
        parts = [tag]
    for part in parts:
        if match := pattern.fullmatch(part):
            prefix, type_ = match.groups() if scheme == "prefix" else match.groups()[::-1]
            pieces.append((prefix.upper(), type_))
        elif part not in OUTSIDE:
            return None
    return pieces


def _read_brackets(tag: str) -> list[Piece] | None:
    match = _BRACKETS.fullmatch(tag)
    if not match or not tag:
        return [] if tag in OUTSIDE else None
    type_, closes = match.groups()
    if type_:
        return [("S" if closes else "B", type_)]
    return [("E" if closes else "I", "")]


def find_spans(tags: Sequence[str], scheme: str) -> list[tuple[int, int, str]]:
    """The entities that tags mark: first token, token after the last, type.

    One rule reads IOB1, BIO, BIOES, BILOU, BMES and IO: an entity begins at B, S, U or W, and at any other tag that
    does not continue an open entity of its type. It ends after E, L, S, U or W.

    Raises:
        ValueError: a tag does not follow the scheme.
    """
    spans: list[list] = []
    still_open: list[list] = []
    for position, tag in enumerate(tags):
        pieces = read_tag(tag, scheme)
        if pieces is None:
            raise ValueError(f"tag {tag!r} is neither O nor like the other tags")
        before, still_open = still_open, []
        for prefix, type_ in pieces:
            span = None
            if prefix not in "BSUW":
                span = next((s for s in before if type_ in (s[2], "")), None)
            if span:
                before.remove(span)
                span[1] = position + 1
            elif type_:
                span = [position, position + 1, type_]
                spans.append(span)
            if span and prefix not in "ELSUW":
                still_open.append(span)
    return [(start, end, type_) for start, end, type_ in spans]


def scheme_name(tags: Iterable[str], scheme: str) -> str:
    """The field's name for what tags follow, such as BIO."""
    if scheme in ("type", "brackets"):
        return {"type": "types without a prefix", "brackets": "brackets"}[scheme]
    prefixes = {prefix for tag in tags for prefix, _ in read_tag(tag, scheme) or ()}
    fitting = [name for letters, name in _SCHEMES.items() if prefixes <= set(letters)]
    return (fitting or ["BIO"])[0] + (" suffixes" if scheme == "suffix" else "")


def numbers_without_names(where: str, numbers: Iterable[object]) -> UserError:
    shown = ", ".join(map(str, sorted(set(numbers), key=str)[:3]))
    return UserError(
        f"{where} are numbers without a name ({shown}, ...): write `tag_names: FILE` in section dataset, with a JSON "
        "list of tags, a JSON object of tags and numbers, or a tag on each line"
    )


def prefixes_without_type(where: str, tags: Iterable[str]) -> UserError:
    return UserError(
        f"{where} have no type ({', '.join(sorted(set(tags)))}): name it with `tag_names` in section dataset, such as "
        "`tag_names: {B: B-disease, I: I-disease}`"
    )


def read_tag_names(names: str | Mapping[str, str]) -> dict[str, str]:
    """What each value in a corpus is called: the tag or the type that it stands for.

    Args:
        names: such a mapping, or a file: a JSON object of values and names or of names and numbers, a JSON list, or a
            name on each line; in the last two, numbers count from 0.

    Raises:
        UserError: the file can't be read, or holds something else.
    """
    content: object = names
    if isinstance(names, str):
        try:
            text = Path(names).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"`tag_names: {names}`: can't be read ({error})") from None
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = [line.strip() for line in text.split("\n") if line.strip()]
    if isinstance(content, list):
        content = dict(enumerate(content))
    if isinstance(content, dict) and all(type(value) is int for value in content.values()):
        content = {number: name for name, number in content.items()}
    if not isinstance(content, dict) or not content or not all(isinstance(name, str) for name in content.values()):
        raise UserError(f"`tag_names: {names}`: it must name the tag of each value, such as a JSON list of tags")
    return {str(value): name for value, name in content.items()}
