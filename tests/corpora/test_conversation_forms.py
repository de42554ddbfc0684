"""Conversations and instruction data: every mention is found in its text, and an answer is read strictly."""

import json

import pytest
from corpus_forms import OWN, chat, entities

from ra_ner.corpora.annotations import NOT_FOUND
from ra_ner.corpora.sources import SKIPPED, load_corpus
from ra_ner.errors import UserError
from ra_ner.prompting.conversation import WORDINGS, training_conversation


def test_the_released_conversations_hold_the_released_annotations(golden):
    golden = golden / "golden"
    lines = (golden / "sky_ner_annotations_released.jsonl").read_text(encoding="utf-8").splitlines()
    annotated = {row["id"]: row["prediction"] for row in map(json.loads, lines)}
    source = load_corpus(str(golden / "sky_ner_conversations_released.json"), "zh")
    assert len(source.passages) == len(annotated) and not source.counts
    for passage in source.passages:
        assert set(passage.pairs) == {pair for entity in annotated[passage.id] for pair in entity.items()}


def test_english_conversations(write):
    rows = [
        chat(
            "Here are some examples of named entity recognition:\nText: Bo ran.\nEntity: []",
            "I've read these examples.",
            "Text: Ada saw Adam, then Ada\nleft Rome.",
            "I’ve read this text.",
            "What describes person in the text?",
            '["Ada", "Bob"]',
            "What describes part of a word in the text?",
            '["dam"]',
            "What describes river in the text?",
            "[]",
            id="x7",
        )
    ]
    source = load_corpus(write(rows), "en")
    (passage,) = source.passages
    assert (passage.id, passage.text) == ("x7", "Ada saw Adam, then Ada\nleft Rome.")
    assert entities(passage) == [
        ("Ada", "person", 0, 3),
        ("Ada", "person", 19, 22),
        ("Bob", "person", None, None),
        ("dam", "part of a word", 9, 12),  # no occurrence is a word of its own
    ]
    assert source.counts == {NOT_FOUND: 1} and source.commit is None


def test_chinese_conversations_with_unescaped_and_curly_quotes(write):
    ask = ('文本中属于"产品"的实体有哪些？', "文本中属于“作品”的实体有哪些？")
    rows = [chat('文本： 买了iPhone和《"你好"》', "我已读完这段文本。", ask[0], '["iPhone"]', ask[1], '["《"你好"》"]')]
    (passage,) = load_corpus(write(json.dumps(rows), "sky.json"), "zh").passages
    assert passage.id == "sky-0"
    assert entities(passage) == [("iPhone", "产品", 2, 8), ('《"你好"》', "作品", 9, 15)]


def test_occurrences_do_not_overlap_themselves_and_words_come_first(write):
    question = "What describes thing in the text?"
    rows = [
        chat("Text: aaaa", "ok", question, '["aa"]'),
        chat("Text: ba a a", "ok", question, '["a a"]'),
        chat("Text: 东东东", "ok", '文本中属于"人"的实体有哪些？', '["东东"]'),
    ]
    spans = [[(e.start, e.end) for e in p.entities] for p in load_corpus(write(rows), "en").passages]
    assert spans == [[(0, 2), (2, 4)], [(3, 6)], [(0, 2)]]


def test_malformed_conversations_are_counted_and_the_first_are_shown(write, capsys):
    text, ack, question = "Text: Ada", "ok", "What describes person in the text?"
    rows = [
        *[chat(text, ack, question, '["Ada"]')] * 32,
        chat("Ada", ack, question, "[]"),
        chat(text, ack, question),
        chat(text, ack, "Who?", "[]"),
        chat(text, ack, question, "Ada"),
        chat(text, ack, question, '["Bo", ""]'),  # what a skipped row lacks is not counted
        chat("Text:  ", ack, question, "[]"),
        {"conversations": [{"from": "human"}]},
        {"conversations": None},
    ]
    source = load_corpus(write(rows), "en")
    assert len(source.passages) == 32 and source.counts == {SKIPPED: 8}
    shown = [line for line in capsys.readouterr().out.splitlines() if "skipped" in line]
    assert len(shown) == 3
    assert "skipped line 33: no turn begins with 'Text:'" in shown[0] and "no answer" in shown[1] and "Who?" in shown[2]


def test_repeated_ids_are_replaced(write):
    row = chat("Text: Ada", "ok", "What describes person in the text?", '["Ada"]', id="same")
    assert [p.id for p in load_corpus(write([row, row]), "en").passages] == ["corpus-0", "corpus-1"]
    assert [p.id for p in load_corpus(write([{**row, "id": 5}, row]), "en").passages] == ["5", "same"]


@pytest.mark.parametrize("name, language", WORDINGS)
def test_our_own_conversations_are_read_back(write, name, language):
    passage = load_corpus(write([OWN]), "en").passages[0]
    prompt, completion = training_conversation(passage, ["person", "river"], [passage], WORDINGS[name, language])
    row = chat(*(message["content"] for message in prompt + completion), id="1")
    (read,) = load_corpus(write([row], "chat.jsonl"), language).passages
    assert (read.id, read.text, read.pairs) == (passage.id, passage.text, passage.pairs)


def test_content_beside_the_list_makes_a_row_malformed(write, capsys):
    question = "What describes person in the text?"
    good = chat("Text: Ada ran", "ok", question, '["Ada"]')
    rows = [good] * 16 + [
        chat("Text: Ada ran", "ok", question, answer)
        for answer in ('The person is ["Ada"].', '["Ada", 3]', '["Ada"', '["Bo" and "Ada"]')
    ]
    assert load_corpus(write(rows), "en").counts == {SKIPPED: 4}
    assert "line 17: answer 'The person is [\"Ada\"].' can't be read" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [
        '[{"entity": "Oslo", "type": "city"}, {"entity": "Ada", "type": "person"}]',
        '{"city": ["Oslo"], "person": ["Ada"], "river": []}',
        '[{"Oslo": "city"}, {"Ada": "person"}]',
        '[{"city": "Oslo"}, {"person": "Ada"}]',
        '```json\n[{"text": "Oslo", "label": "city"}, {"text": "Ada", "label": "person"}]\n```',
    ],
)
def test_an_answer_with_types(write, answer):
    prompt = "Extract all entities as JSON.\n\nText: Ada left Oslo."
    rows = [
        {"messages": [{"role": "system", "content": "You are an extractor."}, *message_turns(prompt, answer)]},
        {"instruction": "Extract all entities as JSON.", "input": "Ada left Oslo.", "output": answer},
        {"messages": [{"role": "system", "content": prompt[:29]}, *message_turns("Ada left Oslo.", answer)]},
        chat("Ada left Oslo.", answer, system=prompt[:29]),
        {"instruction": prompt, "input": "", "output": answer},
    ]
    for row in rows:
        (passage,) = load_corpus(write([row]), "en").passages
        assert passage.text == "Ada left Oslo."
        assert entities(passage) == [("Oslo", "city", 9, 13), ("Ada", "person", 0, 3)]


@pytest.mark.parametrize("mark", [" \nAnswer:", "\n\nOutput: ", "\n实体：\n"])
def test_what_a_prompt_ends_with_is_no_text(write, mark):
    prompt, answer = "Extract all entities as JSON.\nText: Ada left Oslo." + mark, '{"city": ["Oslo"]}'
    rows = [
        {"instruction": prompt, "input": "", "output": answer},
        {"instruction": prompt[:29], "input": prompt[30:], "output": answer},
        {"messages": message_turns(prompt, answer)},
    ]
    for row in rows:
        (passage,) = load_corpus(write([row]), "en").passages
        assert (passage.text, entities(passage)) == ("Ada left Oslo.", [("Oslo", "city", 9, 13)])


def test_alpaca_with_earlier_turns(write):
    row = {"instruction": "What describes city in the text?", "input": "", "output": '["Oslo"]'}
    history = [["Text: Ada left Oslo.", "ok"], ["What describes person in the text?", '["Ada"]']]
    (passage,) = load_corpus(write([{**row, "history": history}]), "en").passages
    assert entities(passage) == [("Ada", "person", 0, 3), ("Oslo", "city", 9, 13)]


def message_turns(*contents: str) -> list[dict]:
    return [{"role": ("user", "assistant")[i % 2], "content": content} for i, content in enumerate(contents)]


@pytest.mark.parametrize(
    "instruction, type_",
    [
        ("List every city in the text as JSON.", "city"),
        ("Find all book titles in the following sentence. Answer as JSON.", "book titles"),
        ('Extract all entities of type "city" from the given text', "city"),
        ("Extract the Named Entities of type CITY from the text chunk you have read.\nReturn a JSON list.", "CITY"),
        ("What describes city in the text?", "city"),
        ("请抽取文本中所有的地名。", "地名"),
        ('文本中属于"地名"的实体有哪些？', "地名"),
    ],
)
def test_an_instruction_that_names_a_type(write, instruction, type_):
    row = {"instruction": instruction, "input": "Ada left Oslo.", "output": '["Oslo"]'}
    assert load_corpus(write([row]), "en").passages[0].pairs == [("Oslo", type_)]


@pytest.mark.parametrize(
    "instruction, output",
    [
        ("Extract all named entities from the text.", '["Oslo"]'),
        ("Translate this.", "Oslo"),
        ("List every city in the text.", "Oslo"),
        ("List the entities.", '[{"Oslo": "Ada"}]'),
    ],
)
def test_an_answer_without_a_type_or_a_list_is_refused(write, instruction, output):
    row = {"instruction": instruction, "input": "Ada left Oslo.", "output": output}
    with pytest.raises(UserError, match="none of its 1 rows is a valid alpaca row; row 1: "):
        load_corpus(write([row]), "en")
