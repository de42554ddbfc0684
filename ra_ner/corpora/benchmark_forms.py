"""Forms in which only single benchmarks are published: Boson, MSRA and People's Daily, CHIP 2020."""

import re

from .annotations import Annotation, Context, Draft

# Boson: 昨天，{{person_name:罗莎}}到了{{location:巴塞尔}}
_OPENING = re.compile(r"\{\{\s*([A-Za-z_]+)\s*[:：]")
# MSRA and People's Daily: 罗莎/nr 到/v 了/u [巴塞尔/ns 大学/n]/nt
_WORD = re.compile(r"(\[(?=[^/]))?(.+?)/([A-Za-z]+\d?)(?:\]/?([A-Za-z]+))?")
_NAMES = ("nr", "ns", "nt")  # and their subclasses, such as nsf
_ARTICLE = re.compile(r"\d{8}-\d+-\d+-\d+")  # People's Daily numbers its paragraphs
# CHIP 2020: 患者发热。|||2    3    sym|||
_BARS = "|||"
_BARRED = re.compile(r"\s*(\d+)\s+(\d+)\s+(\S+)\s*")


def has_mention_types(row: object) -> bool:
    """Whether a row is as in RA-IT's benchmarks: `{sentence, label: {mention: type}}`."""
    return (
        isinstance(row, dict)
        and isinstance(text := row.get("sentence", row.get("text")), str)
        and isinstance(label := row.get("label"), dict)
        and all(type_ is None or isinstance(type_, str) for type_ in label.values())
        and any(mention in text for mention, type_ in label.items() if type_)
    )


def read_mention_types(row: dict, context: Context) -> Draft:
    """A mention is an entity wherever it stands in the text."""
    # Arrow gives each row the keys of all rows, with None where a row has none.
    pairs = [(mention, type_) for mention, type_ in row["label"].items() if type_ is not None]
    text = row["sentence"] if "sentence" in row else row["text"]
    return Draft(text, [Annotation(context.type_of(type_), mention) for mention, type_ in pairs])


def is_marked_up(line: str) -> bool:
    return bool(_OPENING.search(line)) and "}}" in line


def read_marked_up(line: str, context: Context) -> Draft:
    """`{{type:mention}}` in the text; mentions may nest."""
    text, annotations, opened, position = "", [], [], 0
    while position < len(line):
        if opening := _OPENING.match(line, position):
            opened.append(Annotation(context.type_of(opening[1]), None, len(text)))
            position = opening.end()
        elif opened and line.startswith("}}", position):
            annotation = opened.pop()
            annotation.end = len(text)
            annotations.append(annotation)
            position += 2
        else:
            text += line[position]
            position += 1
    if opened:
        raise ValueError(f"{{{{{opened[-1].type}: has no }}}} after it")
    return Draft(text, sorted(annotations, key=lambda annotation: annotation.start))


def is_words_with_tags(line: str) -> bool:
    return all(_WORD.fullmatch(token) for token in line.split())


def read_words_with_tags(line: str, context: Context) -> Draft:
    """`word/tag`, of which nr, ns, nt and t are entities; brackets hold the words of one name."""
    text, annotations, bracket = "", [], None
    for token in line.split():
        match = _WORD.fullmatch(token)
        if match is None:
            raise ValueError(f"{token!r} is not a word, a slash and a tag")
        opens, word, tag, tag_of_all = match.groups()
        if not text and _ARTICLE.fullmatch(word):
            continue
        start = len(text + context.space) if text else 0
        text = f"{text}{context.space}{word}" if text else word
        bracket = start if opens else bracket
        annotations += _named(tag, start, len(text), context)
        if tag_of_all and bracket is not None:
            annotations += _named(tag_of_all, bracket, len(text), context)
            bracket = None
    return Draft(text, annotations)


def _named(tag: str, start: int, end: int, context: Context) -> list[Annotation]:
    name = next((name for name in _NAMES if tag.startswith(name)), "t" if tag == "t" else None)
    return [Annotation(context.type_of(name), None, start, end)] if name else []


def is_barred(line: str) -> bool:
    return line.rstrip().endswith(_BARS)


def read_barred(line: str, context: Context) -> Draft:
    """A text, then `start    last    type` of each entity between bars."""
    text, *entities, rest = line.split(_BARS)
    fields = [_BARRED.fullmatch(entity) for entity in entities]
    if rest.strip() or not all(fields):
        raise ValueError("after the text, each entity is `start    last    type|||`")
    spans = [(int(start), int(last) + 1, type_) for start, last, type_ in (match.groups() for match in fields)]
    return Draft(text, [Annotation(context.type_of(type_), None, start, end) for start, end, type_ in spans])
