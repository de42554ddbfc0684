"""Reading answers back."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ra_ner.prompting.answers import find_mention, parse_answer
from ra_ner.prompting.conversation import WORDINGS

STRICT = [
    ("[]", []),
    ('["a", "b"]', ["a", "b"]),
    (' ["a","a"]\n', ["a"]),
    ('["C++ [x]", "“q”"]', ["C++ [x]", "“q”"]),
    ('["<think>", "a"]', ["<think>", "a"]),
    ('["“甲”，“乙”"]', ["“甲”，“乙”"]),  # quotations that begin in the item
    ('[""]', []),  # from here on: said in a word that there is none
    ('["  "]', []),
    ('["None"]', []),
    ('["无"]', []),
    ('["無"]', []),
    ('["没有找到。"]', []),
    ('["未提到"]', []),
    ('["没有任何实体"]', []),
    ('["No entities."]', []),
    ('["None", "a"]', ["None", "a"]),
]
TOLERANT = [
    ('The answer is ["a", "b"].', ["a", "b"]),
    ('```json\n["a",\n "b"]\n```', ["a", "b"]),
    ("['a', \"it's\", 'say \"x\"', 'don\\'t', 'it's']", ["a", "it's", 'say "x"', "don't"]),
    ("['the 'Rhine' river', 'b']", ["the 'Rhine' river", "b"]),
    ("['O'Hara's', 'the 'Rhine' river']", ["O'Hara's", "the 'Rhine' river"]),
    ('["a", ["b", ["c"]]]', ["a", "b", "c"]),
    ('{"entities": ["a"]}', ["a"]),
    ('["a", "b", "c', ["a", "b"]),
    ('["a", "b",', ["a", "b"]),
    ('["a",]', ["a"]),
    ("['\\u00e9\\n', 'C:\\d', '\\ud83d\\ude00']", ["é\n", "C:\\d", "😀"]),
    # quotes that are not escaped
    ('["他说"好"了", "b"]', ['他说"好"了', "b"]),
    ('[""甲""]', ['"甲"']),
    ('["a "x" y","b","c"]', ['a "x" y', "b", "c"]),
    # quotes and separators of Chinese, and none
    ('["莱茵河"，"阿勒河"]', ["莱茵河", "阿勒河"]),
    ('["莱茵河"、"阿勒河"；"图恩湖"]', ["莱茵河", "阿勒河", "图恩湖"]),
    ("[“莱茵河”, “阿勒河”]", ["莱茵河", "阿勒河"]),
    ("[”莱茵河”，”阿勒河”]", ["莱茵河", "阿勒河"]),
    ("［＂莱茵河＂，＂阿勒河＂］", ["莱茵河", "阿勒河"]),
    ("【「莱茵河」、『阿勒河』】", ["莱茵河", "阿勒河"]),
    ("〔“莱茵河”，“阿勒河”〕。", ["莱茵河", "阿勒河"]),
    ("〖｢莱茵河｣､｢阿勒河｣〗", ["莱茵河", "阿勒河"]),
    ("[〝莱茵河〞，〝阿勒河〟]", ["莱茵河", "阿勒河"]),
    ('["莱茵河"﹐"阿勒河"﹑"图恩湖"﹔]', ["莱茵河", "阿勒河", "图恩湖"]),
    ("［　“５％”，　“Ａ栋”　］", ["５％", "Ａ栋"]),  # full-width characters of the text stay
    ("{“河流”：［“莱茵河”］}", ["莱茵河"]),
    ("[‘it’s’, ‘b’]", ["it’s", "b"]),
    ('["莱茵河" "阿勒河"]', ["莱茵河", "阿勒河"]),
    ('["Rhine" and "Aare"]', ["Rhine", "Aare"]),
    ('["莱茵河"和"阿勒河"/"图恩湖"]', ["莱茵河", "阿勒河", "图恩湖"]),
    ('["莱茵河"或者"阿勒河"还有"图恩湖"]', ["莱茵河", "阿勒河", "图恩湖"]),
    ('["莱茵河"／"阿勒河"＆"图恩湖"跟"比尔湖"]', ["莱茵河", "阿勒河", "图恩湖", "比尔湖"]),
    ('["莱茵河"、"阿勒河"等]', ["莱茵河", "阿勒河"]),
    ('["Rhine", "Aare" etc.]', ["Rhine", "Aare"]),
    ('["Rhine", "Aare", etc.]', ["Rhine", "Aare"]),
    # the last list of strings
    ('The rivers [Rhine, Aare] are ["Rhine", "Aare"] [1].', ["Rhine", "Aare"]),
    ('First ["a"], but rather ["b"]', ["b"]),
    ('["a", "b goes on. So: ["c"]', ["c"]),
    # what a reasoning model thinks
    ('<think>\nNames: [Basel, Rhine] or ["Basel"]?\n</think>\n\n["Rhine"]', ["Rhine"]),
    ('Names: ["Basel"]?\n</think>["Rhine"]', ["Rhine"]),
    ('[THINK]["Basel"]?[/THINK]["Rhine"]', ["Rhine"]),
    ('<Thinking>["a"]</Thinking> none: []', []),
]
DROPPED = [
    ('["a", null, 3, -2.5e3, ..., "…", "", "b"]', ["a", "b"], 6),
    ("['a', None, True]", ["a"], 2),
    ("[null]", [], 1),
    ("[无]", [], 1),
    ("［無］", [], 1),
    ('["a", "\\ud83d"]', ["a"], 1),
]
UNREADABLE = [
    ("", "empty answer"),
    ("   ", "empty answer"),
    ("Paris", "no list"),
    ("{}", "no list"),
    ('"a"', "no list"),
    ("]", "no list"),
    ("[", "cut off"),
    ("[[[", "cut off"),
    ('["', "cut off"),
    ("[Paris, London]", "not a list of strings"),
    ('[{"a": "b"}]', "not a list of strings"),
    ('["a", b]', "not a list of strings"),
    ("[1, 2]", "not a list of strings"),
    ("[, ]", "not a list of strings"),
    ('["甲""乙"]', "may be several"),
    ('["甲"·"乙"]', "may be several"),
    ('["甲, "乙"]', "may be several"),
    ('["甲”，“乙"]', "may be several"),
    ('["甲“，”乙"]', "may be several"),
    ('["甲’，‘乙"]', "may be several"),
    ('["甲｣､｢乙"]', "may be several"),
    ("[\"甲'､'乙\"]", "may be several"),
    ("[\"甲'、'乙\"]", "may be several"),
    ('["甲\\", \\"乙"]', "may be several"),
    ('["[\\"甲\\", \\"乙\\"]"]', "may be several"),
    ('[“甲", "乙”]', "may be several"),
    ('["甲"（河）, "乙"（河）]', "may be several"),
    ('["Rhine" is one, "Aare"]', "may be several"),
    ("['the dogs', cats']", "not a list of strings"),
    ('<think>\nMaybe ["Basel"]?', "thinking that does not end"),
    ('<think>\nMaybe</think>hm<think>["Basel"]?', "thinking that does not end"),
]


@pytest.mark.parametrize("raw, mentions", STRICT)
def test_strict_answers(raw, mentions):
    answer = parse_answer(raw)
    assert (list(answer.mentions), answer.strict, answer.error, answer.dropped) == (mentions, True, None, 0)


@pytest.mark.parametrize("raw, mentions", TOLERANT)
def test_tolerant_answers(raw, mentions):
    answer = parse_answer(raw)
    assert (list(answer.mentions), answer.strict, answer.error, answer.dropped) == (mentions, False, None, 0)


@pytest.mark.parametrize("raw, mentions, dropped", DROPPED)
def test_an_item_that_is_no_mention_costs_itself_alone(raw, mentions, dropped):
    answer = parse_answer(raw)
    assert (list(answer.mentions), answer.strict, answer.error, answer.dropped) == (mentions, False, None, dropped)


@pytest.mark.parametrize("raw, error", UNREADABLE)
def test_unreadable_answers_say_why(raw, error):
    answer = parse_answer(raw)
    assert answer.mentions == () and error in answer.error


MENTIONS = st.lists(st.text().filter(lambda mention: mention.strip().strip(".…")), min_size=2)


@given(MENTIONS)
def test_every_list_of_mentions_is_read_back(mentions):
    answer = parse_answer(json.dumps(mentions))
    assert answer.strict and answer.mentions == tuple(dict.fromkeys(mentions))


@given(st.lists(st.text(alphabet="ab,\"' 好", min_size=1).filter(str.strip)))
def test_the_released_format_without_escapes_is_read_where_it_is_unambiguous(mentions):
    if not any('"' in mention for mention in mentions):
        answer = WORDINGS["released_zh", "zh"].format_answer(mentions)
        assert list(parse_answer(answer).mentions) == list(dict.fromkeys(mentions))


SEPARATORS = [",", "，", "、", " ， ", ";", "､", "﹑", "／", "或者"]


@given(st.lists(st.text(alphabet="ab好“”'", min_size=1), min_size=2), st.sampled_from(SEPARATORS))
def test_separators_never_join_mentions(mentions, separator):
    raw = separator.join(f'"{mention}"' for mention in mentions)
    answer = parse_answer(f"[{raw}]")
    assert answer.error or answer.mentions == tuple(dict.fromkeys(mentions))


ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\", "/": "/"}


def unescaped(raw: str) -> str:
    """All escapes of JSON and Python in an answer, read one by one."""

    def read(match: re.Match) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        return ESCAPES.get(match[2], match[0])

    text = re.sub(r"\\(?:u([0-9a-fA-F]{4})|(.))", read, raw, flags=re.DOTALL)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


PIECES = [*"[]\"'“”「」`,，、 \n\\{}甲1", "\\u00e9", "\\ud83d", "\\ude00", "Rhine", "null", "...", "and", "和"]
PIECES += ["等", "etc.", "［", "】", "〔", "｢", "｣", "〞", "‹", "／"]
PIECES += ["<think>", "</think>", '["a", "b"]', '["', '"]', '", "']
hostile = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(
    alphabet=st.characters(exclude_categories=())
)


@settings(max_examples=500)
@given(hostile)
def test_every_mention_stands_in_the_answer(raw):
    answer = parse_answer(raw)
    assert answer.error is None or answer.mentions == ()
    assert all(mention in unescaped(raw) for mention in answer.mentions)
    json.dumps(answer.mentions, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "raw",
    [
        "[" * 1_000_000,
        "[" * 500_000 + "]" * 500_000,
        '["' + "a" * 1_000_000,
        '["a",' * 100_000,
        "[" + "'\\" * 300_000,
        '["' * 200_000,
        "[“a" * 200_000,
        '["a' + "['[“[‘[「" * 50_000,
        '["' + '" ' * 200_000,
        "['" + "a'" * 200_000,
        "[" + "1" * 5_000 + "]",
        "[" + "1" * 500_000 + "x]",
        '["a"' + " " * 500_000 + "x",
        '["' + " " * 500_000 + '"]',
        '["[' + "” " * 200_000 + '"]',
        "<think>" * 100_000,
    ],
    ids=lambda raw: raw[:8],
)
def test_huge_answers_are_read_in_linear_time(raw):
    begun = time.monotonic()
    parse_answer(raw)
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    "mention, text, places",
    [
        ("art", "Bart's art", [(7, 10)]),  # whole words first
        ("art", "Bart", [(1, 4)]),  # inside a word if there is no other place
        ("a a", "xa a a", [(3, 6)]),  # a place inside a word does not hide the one that it overlaps
        ("Öl", "Ölfarbe, Öl", [(9, 11)]),
        ("北京", "在北京的北京人", [(1, 3), (4, 6)]),
        ("AI", "新AI模型", [(1, 3)]),  # between scripts no word is cut
        ("cafe", "cafe\u0301, cafe", [(7, 11)]),  # nor before an accent
        ("", "text", []),
    ],
)
def test_a_mention_is_found_as_whole_words(mention, text, places):
    assert find_mention(mention, text) == places
