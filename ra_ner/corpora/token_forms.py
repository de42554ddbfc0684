"""Rows of tokens: with a tag for each token, or with entities over token positions."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise

from ..errors import UserError
from .annotations import Annotation, Context, Draft
from .span_forms import spans_are_of_text
from .tags import find_scheme, find_spans, is_untyped, numbers_without_names, prefixes_without_type, scheme_name

Row = dict  # one JSON object

_TOKENS = ("tokens", "words", "tokenized_text", "token", "word", "sentence", "text")
_TAGS = ("ner_tags", "ner", "tags", "labels", "ner_labels", "label", "fine_ner_tags")
_SPANS = ("ner", "entities", "spans")


def _token_key(row: Row) -> str | None:
    return next((key for key in _TOKENS if _is_list_of(str, row.get(key))), None)


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, kind) for item in value)


def _tag_key(row: Row) -> str | None:
    return next((key for key in _TAGS if _is_list_of(str | int, row.get(key))), None)


def _is_document(row: Row) -> bool:
    return _is_list_of(list, row.get("sentences")) and _is_list_of(list, row.get("ner"))


def _unwrap(row: Row) -> Row:
    """GNER keeps words and labels in `instance`; DyGIE has lists for the sentences of a document, which count on."""
    if isinstance(row.get("instance"), dict):
        return row["instance"]
    if _is_document(row):
        return {"tokens": list(chain(*row["sentences"])), "ner": list(chain(*row["ner"]))}
    return row


def has_tags(row: object) -> bool:
    row = _unwrap(row) if isinstance(row, dict) else {}
    return "layers" in row or (_token_key(row) is not None and _tag_key(row) not in (None, _token_key(row)))


def has_token_spans(row: object) -> bool:
    row = _unwrap(row) if isinstance(row, dict) else {}
    if _token_key(row) is None or any(row.get(key) for key in ("ner_tags", "tags")):
        return False
    return any(_is_span_list(row.get(key)) for key in _SPANS) and not spans_are_of_text(row)


def _is_span_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, list | dict) for item in value)


def prepare_tags(rows: Sequence[object], context: Context) -> str:
    """Find the scheme of all tags, and say where they stand.

    Raises:
        UserError: they are numbers, have no types, or follow no scheme.
    """
    if not all(isinstance(key, str) for key in context.columns.values()):
        raise UserError("`columns` of JSON rows are keys, such as {token: words, tag: labels}")
    counts: Counter[str] = Counter()
    numbers: Counter[object] = Counter()
    places: Counter[tuple[str | None, str | None]] = Counter()
    for row in rows:
        if isinstance(row, dict) and _is_list_of(str | int, tags := _unwrap(row).get(_keys(row, context)[1])):
            places[_keys(row, context)] += 1
            for tag in (context.tag_names.get(str(tag), tag) for tag in tags):
                (counts if isinstance(tag, str) else numbers)[tag] += 1
    if not counts and not numbers:
        raise UserError(f"no row has tags under {context.columns.get('tag') or ', '.join(_TAGS)}")
    if numbers.total() > counts.total():
        raise numbers_without_names("the tags", numbers)
    if is_untyped(counts):
        raise prefixes_without_type("the tags", counts)
    # What stands under a key of tags needs no evidence, unless it could be parts of speech.
    scheme = find_scheme(counts, are_tags=bool(context.tag_names or context.columns or counts["O"]))
    if scheme is None:
        shown = ", ".join(map(repr, list(counts)[:3]))
        raise UserError(f"the tags follow no scheme that is known ({shown}, ...), such as B-person, I-person and O")
    context.scheme = scheme
    tokens, tags = places.most_common(1)[0][0]
    return f", tokens in `{tokens}`, tags in `{tags}` ({scheme_name(counts, scheme)})"


def _keys(row: Row, context: Context) -> tuple[str | None, str | None]:
    """Where a row has its tokens and its tags."""
    row = _unwrap(row)
    return context.columns.get("token") or _token_key(row), context.columns.get("tag") or _tag_key(row)


def _tags(row: Row, key: str, names: Mapping[str, str]) -> list[str]:
    tags = [names.get(str(tag), tag) for tag in row[key]]
    if unnamed := [tag for tag in tags if not isinstance(tag, str)]:
        raise ValueError(f"tag {unnamed[0]!r} has no name")
    return tags


def read_tags(row: Row, context: Context) -> Draft:
    """Tokens and their tags. Several layers of tags hold nested entities."""
    if "layers" in row:
        tokens, layers = row["tokens"], row["layers"]
    else:
        token_key, tag_key = _keys(row, context)
        if token_key is None or tag_key is None:
            raise ValueError("there is no list of tokens, or none of tags")
        tokens, layers = _unwrap(row)[token_key], [_tags(_unwrap(row), tag_key, context.tag_names)]
    for tags in layers:
        if len(tokens) != len(tags):
            raise ValueError(f"{len(tokens)} tokens, but {len(tags)} tags")
    tokens, layers = _join_halves(tokens, layers)
    spans = [span for tags in layers for span in find_spans(tags, context.scheme)]
    return _draft(tokens, [(first, last, context.type_of(type_)) for first, last, type_ in spans], context)


_TWO_HALVES = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def _join_halves(tokens: list[str], layers: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Make one token of an emoji whose two halves stand in two tokens, as in the first release of Weibo."""
    second = [i for i in range(1, len(tokens)) if _TWO_HALVES.fullmatch(tokens[i - 1][-1:] + tokens[i][:1])]
    if not second:
        return tokens, layers
    text = [token + tokens[i + 1] if i + 1 in second else token for i, token in enumerate(tokens)]
    whole = [token.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass") for token in text]
    kept = [i for i in range(len(tokens)) if i not in second]
    return [whole[i] for i in kept], [[tags[i] for i in kept] for tags in layers]


def read_token_spans(row: Row, context: Context) -> Draft:
    """GLiNER's `[first, last, type]`, SpERT's `{type, start, end}` with an exclusive end, W2NER's `{index, type}`."""
    if _is_document(row):
        starts = [0, *accumulate(map(len, row["sentences"]))]
        for (start, end), spans in zip(pairwise(starts), row["ner"], strict=True):
            if not all(start <= span[0] <= span[1] < end for span in spans):
                raise ValueError(f"{spans} are not in their sentence, tokens {start} to {end - 1} of the document")
    row = _unwrap(row)
    tokens, entities = row[_token_key(row)], next((row[key] for key in _SPANS if _is_span_list(row.get(key))), None)
    if entities is None:
        raise ValueError(f"there is no list of entities under {', '.join(_SPANS)}")
    spans, scattered = [], []
    for entity in entities:
        if isinstance(entity, list):
            first, last, label = entity
            spans.append((first, last + 1, context.type_of(label)))
        elif "index" in entity:
            index, type_ = sorted(entity["index"]), context.type_of(entity["type"])
            if index == list(range(index[0], index[-1] + 1)):
                spans.append((index[0], index[-1] + 1, type_))
            else:
                mention = context.space.join(tokens[position] for position in index)
                scattered.append(Annotation(type_, mention, is_discontinuous=True))
        else:
            spans.append((entity["start"], entity["end"], context.type_of(entity["type"])))
    draft = _draft(tokens, spans, context)
    draft.annotations += scattered
    return draft


def is_mrc(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("context"), str) and _mrc_spans(row) is not None


def _mrc_spans(row: Row) -> Row | None:
    """The spans of each type; some releases have a row for each type."""
    label = row.get("entity_label")
    spans = {label: row.get("span_position")} if isinstance(label, str) else row.get("label")
    return spans if isinstance(spans, dict) and all(isinstance(one, list) for one in spans.values()) else None


def read_mrc(row: Row, context: Context) -> Draft:
    """`{type: ["first;last"]}` over the words of a context, or over its characters if it has no blanks."""
    text = row["context"].strip()
    tokens = text.split() if " " in text or context.space else list(text)
    spans = []
    for label, places in _mrc_spans(row).items():
        for first, last in (map(int, place.split(";")) for place in places):
            spans.append((first, last + 1, context.type_of(label)))
    return _draft(tokens, spans, context)


def _draft(tokens: Sequence[str], spans: Sequence[tuple[int, int, str]], context: Context) -> Draft:
    """The tokens as a text, and spans of tokens as offsets."""
    text = context.space.join(tokens)
    starts = list(accumulate((len(token) + len(context.space) for token in tokens), initial=0))
    annotations = []
    for first, last, type_ in spans:
        if not 0 <= first < last <= len(tokens):
            raise ValueError(f"tokens {first} to {last} of {len(tokens)} are none")
        start, end = starts[first], starts[last] - len(context.space)
        annotations.append(Annotation(type_, text[start:end], start, end))
    return Draft(text, annotations)
