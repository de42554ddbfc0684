"""Rows of instruction data for NER: conversations (ShareGPT, messages) and alpaca.

A type is asked about in a question, and the answer is a list of mentions; or the answer itself names mentions and
types. An answer is read strictly: whatever else it holds makes the row malformed.
"""

import json
import re
from collections.abc import Iterator
from itertools import chain, cycle

from ..prompting.answers import parse_answer
from .annotations import Annotation, Context, Draft
from .span_forms import read_spans

Row = dict  # one JSON object

_TURNS = ("conversations", "messages", "conversation")
_TEXT_TURN = re.compile(r"\s*(?:Text|文本)\s*[:：] ?(.*\S.*)", re.DOTALL)  # keeps the text's own white space
_TEXT_IN_PROMPT = re.compile(r"^\s*(?:Text|Passage|Sentence|Input|文本|句子|输入)\s*[:：] ?", re.MULTILINE)
# What a prompt may end with, so that the answer follows it.
_ANSWER_MARK = re.compile(
    r"\s*\n\s*(?:Answer|Entities|Output|Response|Result|答案?|回答|实体|输出|结果)\s*[:：]\s*\Z", re.IGNORECASE
)
_QUESTIONS = [
    re.compile(pattern, re.DOTALL | re.IGNORECASE)
    for pattern in (
        r"What describes (?P<type>.+) in the text\?",
        r"文本中属于[\"“”](?P<type>.+)[\"“”]的实体有哪些[？?]",
        # Of instructions in alpaca, such as `List every city in the text as JSON.`
        r"(?:Please )?(?:list|extract|find|identify|name) (?:every|each|any|all)(?: the)?(?: mentions? of)? "
        r"(?!(?:named )?entit)[\"'“]?(?P<type>[^\"'“”.:,\n]+?)[\"'”]?(?: entit(?:y|ies)| mentions?)? "
        r"(?:in|from) the (?:following |given )?(?:text|sentence|passage|input)\b[^\n]*",
        # Of SLIMER: `Extract the Named Entities of type COURT from the text chunk you have read.` and guidelines
        r"[^\n]{0,60}\bentit(?:y|ies) of (?:the )?type [\"'“]?(?P<type>[^\"'“”.:,\n]+?)[\"'”]? (?:in|from) the \w.*",
        r"(?:请)?(?:从文本中|从句子中)?(?:抽取|提取|找出|列出)(?:文本|句子)?(?:中)?(?:的)?所有(?:的)?[\"“]?(?P<type>[^\"“”，。：\n]+?)[\"”]?"
        r"(?:类型)?(?:的)?(?:实体)?(?:[，。：？][^\n]*)?",
    )
]
_IEPILE = re.compile(r'\{"instruction":.*"schema":.*"input":.*\}', re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


def _turns(row: object) -> list | None:
    return next((row[key] for key in _TURNS if isinstance(row.get(key), list)), None) if isinstance(row, dict) else None


def is_conversation(row: object) -> bool:
    return _turns(row) is not None


def read_conversation(row: Row, context: Context) -> Draft:
    """Turns: examples if any, the text, an acknowledgement, then a question and an answer for each type."""
    turns = [
        (turn.get("from") or turn["role"], turn["value"] if "value" in turn else turn["content"])
        for turn in _turns(row)
    ]
    words = [said for who, said in turns if who != "system"]
    number, text = next(((i, match[1]) for i, said in enumerate(words) if (match := _TEXT_TURN.match(said))), (0, ""))
    if len(words) == 2 and _names_type_or_types(*words):
        return _read_prompt(*words, context)
    system = row.get("system") or next((said for who, said in turns if who == "system"), None)
    if len(words) == 2 and system and not text:  # the user says the text alone
        return _read_answer(system, *words, context)
    if not text:
        raise ValueError("no turn begins with 'Text:' or '文本：'")
    questions, answers = words[number + 2 :: 2], words[number + 3 :: 2]
    if len(questions) != len(answers):
        raise ValueError("the last question has no answer")
    annotations, asked = [], {}
    for question, answer in zip(questions, answers, strict=True):
        type_ = _asked_type(question, _QUESTIONS[:2])
        if type_ is None:
            raise ValueError(f"not a question about an entity type: {question[:60]!r}")
        asked[type_] = None
        annotations += [Annotation(type_, mention) for mention in _mentions(answer, text)]
    return Draft(text, annotations, asked=list(asked))


def is_alpaca(row: object) -> bool:
    return isinstance(row, dict) and isinstance(row.get("instruction"), str) and isinstance(row.get("output"), str)


def read_alpaca(row: Row, context: Context) -> Draft:
    if row.get("history"):  # earlier turns
        prompt = "\n".join(part for part in (row["instruction"], row.get("input")) if part)
        contents = [*chain.from_iterable(row["history"]), prompt, row["output"]]
        roles = cycle(("user", "assistant"))
        turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
        return read_conversation({"messages": turns}, context)
    if iepile := _IEPILE.match(row["instruction"]) and json.loads(row["instruction"]):
        draft = _read_answer("", iepile["input"], row["output"], context)
        draft.asked = [context.type_of(type_) for type_ in iepile["schema"]]
        return draft
    if not (row.get("input") or "").strip():
        return _read_prompt(row["instruction"], row["output"], context)
    match = _TEXT_TURN.match(row["input"])
    return _read_answer(row["instruction"], match[1] if match else row["input"], row["output"], context)


def _names_type_or_types(prompt: str, answer: str) -> bool:
    return bool(_TEXT_IN_PROMPT.search(prompt)) and answer.strip().startswith(("[", "{", "```"))


def _read_prompt(prompt: str, answer: str, context: Context) -> Draft:
    """A prompt that holds an instruction and the text, in either order."""
    marks = list(_TEXT_IN_PROMPT.finditer(prompt))
    if not marks:
        raise ValueError("no line of the prompt begins with 'Text:' or '文本：'")
    instruction, text = prompt[: marks[-1].start()], prompt[marks[-1].end() :]
    if not instruction.strip():
        text, _, instruction = text.partition("\n")
    return _read_answer(instruction, text.strip("\n"), answer, context)


def _read_answer(instruction: str, text: str, answer: str, context: Context) -> Draft:
    text = _ANSWER_MARK.sub("", text)
    fenced = _FENCE.fullmatch(answer.strip())
    answer = fenced[1] if fenced else answer
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict) or (isinstance(content, list) and any(isinstance(item, dict) for item in content)):
        return Draft(text, list(_typed(content, text, context)))
    type_ = _asked_type(instruction, _QUESTIONS)
    if type_ is None:
        raise ValueError(f"neither the question nor the answer names a type: {instruction[:60]!r}")
    return Draft(text, [Annotation(type_, mention) for mention in _mentions(answer, text)], asked=[type_])


def _asked_type(question: str, patterns: list[re.Pattern]) -> str | None:
    return next((match["type"] for pattern in patterns if (match := pattern.fullmatch(question.strip()))), None)


def _mentions(answer: str, text: str) -> list[str]:
    """The mentions of an answer that is a list of strings and nothing else.

    Raises:
        ValueError: it is not. The released data do not escape quotes: there, each mention must stand in the text.
    """
    answer = answer.strip()
    parsed = parse_answer(answer)
    if parsed.strict:
        mentions = list(parsed.mentions)
    elif not answer.startswith("[") or not answer.endswith("]") or parsed.error or parsed.dropped:
        reason = parsed.error or ("an item is no mention" if parsed.dropped else "not a list of strings")
        raise ValueError(f"answer {answer[:60]!r} can't be read: {reason}")
    elif missing := [mention for mention in parsed.mentions if mention not in text]:
        raise ValueError(f"answer {answer[:60]!r} is not a list of strings, and {missing[0]!r} is not in the text")
    else:
        mentions = list(parsed.mentions)
    if not all(mentions):
        raise ValueError("an answer holds an empty mention")
    return mentions


def _typed(content: dict | list, text: str, context: Context) -> Iterator[Annotation]:
    """The annotations of an answer with types: `[{"entity", "type"}]`, `{type: [mentions]}` or `[{mention: type}]`."""
    for item in content if isinstance(content, list) else [content]:
        if not isinstance(item, dict):
            raise ValueError(f"answer holds {item!r}, which names no type")
        if any(key in item for key in ("type", "label", "entity_type")):
            yield from read_spans({"text": text, "entities": [item]}, context).annotations
            continue
        for key, value in item.items():
            if isinstance(value, list):
                yield from (Annotation(context.type_of(key), mention) for mention in value)
            elif isinstance(value, str) and (key in text) != (value in text):
                mention, label = (key, value) if key in text else (value, key)
                yield Annotation(context.type_of(label), mention)
            else:
                raise ValueError(f"it is not clear which is the mention in {key!r}: {value!r}")
