"""The words of a conversation."""

import json
import random
from collections import Counter

from conftest import passage

from ra_ner.passage import Entity, Passage
from ra_ner.prompting.answers import parse_answer
from ra_ner.prompting.conversation import WORDINGS, NegativeTypes, query, training_conversation

RIVER = passage("The Rhine flows past Basel.", ("Rhine", "river"), ("Basel", "city"), id="river")
QUOTE = passage('He said "hi" in Bonn {x}.', ('"hi"', "greeting"), ("Bonn", "city"), id="quote")


def contents(messages):
    return [message["content"] for message in messages]


def test_english_conversation():
    prompt, completion = training_conversation(RIVER, ["city", "drug"], [QUOTE], WORDINGS["ra_it", "en"])
    assert contents(prompt) == [
        "Here are some examples of named entity recognition:\n"
        'Text: He said "hi" in Bonn {x}.\nEntity: [{"\\"hi\\"": "greeting"}, {"Bonn": "city"}]',
        "I've read these examples.",
        "Text: The Rhine flows past Basel.",
        "I've read this text.",
        "What describes city in the text?",
    ]
    assert contents(completion) == ['["Basel"]', "What describes drug in the text?", "[]"]
    assert [message["role"] for message in prompt + completion] == ["user", "assistant"] * 4


def test_chinese_conversation_has_a_full_width_colon_and_a_space_before_the_text():
    prompt, completion = training_conversation(
        passage("莱茵河流经巴塞尔。", ("莱茵河", "河流")),
        ["河流"],
        [passage("波恩", ("波恩", "城市"))],
        WORDINGS["ra_it", "zh"],
    )
    assert contents(prompt) == [
        '以下是一些命名实体识别的例子：\n文本：波恩\n实体：[{"波恩": "城市"}]',
        "我已读完这些例子。",
        "文本： 莱茵河流经巴塞尔。",
        "我已读完这段文本。",
        '文本中属于"河流"的实体有哪些？',
    ]
    assert contents(completion) == ['["莱茵河"]']


def test_without_examples_their_turn_is_dropped_whole():
    assert contents(query("Hi", "city", [], WORDINGS["ra_it", "en"]))[0] == "Text: Hi"


def test_released_wordings_keep_their_quirks():
    english = contents(query("Hi", "city", [RIVER], WORDINGS["released_en", "en"]))
    assert english[1] == "I’ve read these examples." and english[3] == "I’ve read this text."
    chinese = WORDINGS["released_zh", "zh"]
    assert chinese.format_entities([("莱茵河", "河流")]) == "[{'莱茵河': '河流'}]"
    assert chinese.format_answer(['"甲"', "乙"]) == '[""甲"", "乙"]'
    assert chinese.format_answer([]) == "[]"


def test_the_released_chinese_conversations_are_made_of_these_words(golden):
    conversations = json.loads((golden / "golden" / "sky_ner_conversations_released.json").read_text(encoding="utf-8"))
    wording = WORDINGS["released_zh", "zh"]
    for conversation in conversations:
        turns = [turn["value"] for turn in conversation["conversations"]]
        text = turns[0].removeprefix("文本： ")
        types = [turn.split('"')[1] for turn in turns[2::2]]
        answers = [parse_answer(turn).mentions for turn in turns[3::2]]
        assert turns[:2] == contents(query(text, "", [], wording))[:2]
        for type_, answer, (asked, answered) in zip(
            types, answers, zip(turns[2::2], turns[3::2], strict=True), strict=True
        ):
            assert asked == wording.question.format(type=type_)
            assert answered == wording.format_answer(list(answer))


def test_the_query_is_how_the_training_conversation_begins():
    for examples in ([], [QUOTE]):
        wording = WORDINGS["ra_it", "en"]
        prompt, _ = training_conversation(RIVER, ["city", "river"], examples, wording)
        assert query(RIVER.text, "city", examples, wording) == prompt


CORPUS = [
    passage("a b c", ("a", "common"), ("b", "common"), ("c", "rare"), id="1"),
    passage("d e f", ("d", "common"), ("e", "common"), ("f", "other"), id="2"),
]


def test_negative_types_are_never_the_passages_own_nor_drawn_twice():
    negatives = NegativeTypes(CORPUS, probability=1.0)
    for seed in range(50):
        drawn = negatives.sample(RIVER, random.Random(seed))
        assert len(drawn) == len(set(drawn)) == 2 and set(drawn) <= {"common", "rare", "other"}
        assert negatives.sample(CORPUS[0], random.Random(seed)) == ["other"], "fewer when the corpus has no more"


def test_negative_types_follow_the_coin_and_the_frequency():
    assert NegativeTypes(CORPUS, probability=0.0).sample(RIVER, random.Random(0)) == []
    first = Counter(NegativeTypes(CORPUS).draw(RIVER, 1, random.Random(seed))[0] for seed in range(3000))
    assert 0.62 < first["common"] / 3000 < 0.72, "4 of 6 pairs"
    tosses = [len(NegativeTypes(CORPUS).sample(RIVER, random.Random(seed))) for seed in range(3000)]
    assert 0.95 < sum(tosses) / 3000 < 1.05, "half of two types"


def test_one_coin_is_tossed_for_each_type_however_many_mentions_it_has():
    one_type = passage("p q r s", *((mention, "mine") for mention in "pqrs"), id="one")
    negatives = NegativeTypes(CORPUS, probability=1.0)
    assert {len(negatives.sample(one_type, random.Random(seed))) for seed in range(50)} == {1}


def test_a_mention_that_comes_again_in_its_passage_makes_its_type_no_more_frequent():
    again = Passage(
        "again", "a a a a b", (*(Entity("a", "again", 2 * i, 2 * i + 1) for i in range(4)), Entity("b", "once", 8, 9))
    )
    first = Counter(NegativeTypes([again]).draw(RIVER, 1, random.Random(seed))[0] for seed in range(1000))
    assert 0.4 < first["again"] / 1000 < 0.6
