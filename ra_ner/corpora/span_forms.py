"""Rows of a text and entities with character offsets or mentions: our own form, and what annotation tools export."""

from collections.abc import Sequence

from .annotations import Annotation, Context, Draft, NotAnnotatedError

Row = dict  # one JSON object

# The names that tools and datasets give to the same things.
_TEXT = ("text", "sentence", "originalText", "content", "context", "data", "source_text", "full_text")
_LIST = ("entities", "spans", "ents", "entity_list", "label", "labels", "annotations", "annotation", "privacy_mask")
_MENTION = ("text", "entity", "name", "mention", "word", "entity_text", "entity_name", "entity_value", "value")
_TYPE = ("type", "label", "labels", "hypertextlabels", "entity_type", "label_type", "category", "tag")
_START = ("start", "start_idx", "start_offset", "start_pos", "start_position", "begin")
_END = ("end", "end_idx", "end_offset", "end_pos", "end_position")
_ANNOTATED = ("answer", "annotation_id", "lead_time")  # of Prodigy and Label Studio: a row that was worked on
_PAIR = ("pos", "span", "offset", "offsets", "position", "entity_index")


def first(row: Row, keys: tuple[str, ...], kind: type | tuple[type, ...] = object) -> object:
    """What stands under the first key that a row has; None if it has none. Arrow fills missing keys with None."""
    return next((row[key] for key in keys if row.get(key) is not None and isinstance(row[key], kind)), None)


def is_ours(row: object) -> bool:
    return (
        has_spans(row)
        and isinstance(row.get("entities"), list)
        and bool(row["entities"])
        and all(isinstance(entity, dict) and {"text", "type"} <= entity.keys() for entity in row["entities"])
    )


def read_ours(row: Row, context: Context) -> Draft:
    draft = read_spans(row, context)
    draft.is_ours = True
    return draft


def has_spans(row: object) -> bool:
    return isinstance(row, dict) and first(row, _TEXT, str) is not None and first(row, _LIST, list) is not None


def spans_are_of_text(row: Row) -> bool:
    """Whether offsets of entities point at their mentions in the row's text, so that they count its characters."""
    text, entities = first(row, _TEXT, str), first(row, _LIST, list)
    for entity in entities or [] if text else []:
        if isinstance(entity, dict):
            mention, start, end = first(entity, _MENTION, str), first(entity, _START, int), first(entity, _END, int)
            if mention and start is not None and end is not None and text[start:end] == mention:
                return True
    return False


def is_unlabelled(rows: Sequence[object]) -> bool:
    """Whether rows have a text and nothing that could label it."""
    return all(isinstance(row, dict) and row.keys() <= {"id", *_TEXT} and row.keys() & {*_TEXT} for row in rows)


def has_entities(row: object) -> bool:
    """Whether there is an entity: without one, a row could be of any form."""
    return has_spans(row) and bool(first(row, _LIST, list))


def read_spans(row: Row, context: Context) -> Draft:
    """A text, and a list of `[start, end, type]` or of objects with a mention, a type and offsets."""
    text, entities = first(row, _TEXT, str), first(row, _LIST, list)
    if row.get("answer") in ("reject", "ignore"):  # Prodigy
        raise NotAnnotatedError
    if text is None:
        raise ValueError(f"there is no text under {', '.join(_TEXT)}")
    if entities is None and not any(key in row for key in (*_LIST, *_ANNOTATED)):
        raise ValueError(f"there is no list of entities under {', '.join(_LIST)}")
    return Draft(text, [annotation for entity in entities or [] for annotation in _annotations(entity, context)])


def _annotations(entity: object, context: Context) -> list[Annotation]:
    if isinstance(entity, list):
        start, end, label, *_ = entity  # spaCy may add an id
        return [Annotation(context.type_of(label), None, start, end)]
    if not isinstance(entity, dict):
        raise ValueError("an entity is [start, end, type] or {text, type, start, end}")
    if points := first(entity, ("points",), list):  # of Dataturks
        entity = {**entity, **points[0]}
    # Prodigy's relations task writes the kind of a mark under `type`.
    label = first(entity, _TYPE[1:] if entity.get("type") == "span" else ()) or first(entity, _TYPE)
    start, end = first(entity, _START), first(entity, _END)
    pair = first(entity, _PAIR, (list, dict))
    if start is None and end is None and pair:
        if isinstance(pair, dict):
            pair = [first(pair, _START), first(pair, _END)]
        start, end = pair[0] if isinstance(pair[0], list) else pair
        if start == -1:  # InstructUIE, of mentions that were not found
            start = end = None
    labels = label if isinstance(label, list) else [label]
    return [Annotation(context.type_of(one), first(entity, _MENTION), start, end) for one in labels]


def read_uie(row: Row, context: Context) -> Draft:
    """The spans of one type, as PaddleNLP's UIE is trained: `{content, prompt, result_list}`."""
    text, prompt = row["content"], row["prompt"]
    head, _, relation = prompt.rpartition("的")
    if relation and len(head) > 1 and head in text:
        raise ValueError(f"{prompt!r} asks about a relation of {head!r}, not about a type")
    type_ = context.type_of(prompt)
    spans = [Annotation(type_, one["text"], one["start"], one["end"]) for one in row["result_list"]]
    return Draft(text, spans, asked=[type_])


def is_spacy(row: object) -> bool:
    """A tuple of training data, or the same in an object."""
    if isinstance(row, dict):
        return has_entities(row) and isinstance(row.get("entities"), list) and isinstance(row["entities"][0], list)
    return (
        isinstance(row, list)
        and len(row) == 2
        and isinstance(row[0], str)
        and isinstance(row[1], dict)
        and isinstance(row[1].get("entities"), list)
    )


def read_spacy(row: list | Row, context: Context) -> Draft:
    if isinstance(row, list):
        text, annotated = row
        row = {"text": text, "entities": annotated["entities"]}
    return read_spans(row, context)


def is_label_studio(row: object) -> bool:
    """A task, or a row of the export JSON-MIN."""
    if has_entities(row):
        entities = first(row, _LIST, list)
        return all(isinstance(entity, dict) and isinstance(entity.get("labels"), list) for entity in entities)
    return (
        isinstance(row, dict)
        and isinstance(row.get("data"), dict)
        and isinstance(first(row, ("annotations", "completions")), list)
    )


def read_label_studio(row: Row, context: Context) -> Draft:
    """A task of Label Studio, by its first annotation that was not canceled."""
    if not isinstance(row.get("data"), dict):
        return read_spans(row, context)
    done = [one for one in first(row, ("annotations", "completions")) if not one.get("was_cancelled")]
    if not done:
        raise NotAnnotatedError
    values = [result["value"] for result in done[0]["result"] if first(result.get("value") or {}, _TYPE)]
    texts = [text for text in row["data"].values() if isinstance(text, str)]
    text = row["data"].get("text") or next(
        (text for text in texts if all((value.get("text") or text) in text for value in values)), None
    )
    if text is None:
        raise ValueError("no value of `data` is a text with these mentions")
    return read_spans({"text": text, "entities": values}, context)


def is_cluener(row: object) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("text"), str)
        and isinstance(label := row.get("label"), dict)
        and all(mentions is None or isinstance(mentions, dict) for mentions in label.values())
    )


def read_cluener(row: Row, context: Context) -> Draft:
    """CLUENER: `{type: {mention: [[start, last]]}}`."""
    annotations = [
        Annotation(context.type_of(label), mention, start, last + 1)
        for label, mentions in row["label"].items()
        for mention, spans in (mentions or {}).items()
        for start, last in spans or []
    ]
    return Draft(row["text"], annotations)
