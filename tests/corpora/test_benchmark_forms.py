"""Forms in which only single benchmarks are published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.corpora import benchmark_forms
from ra_ner.corpora.annotations import Context
from ra_ner.corpora.sources import load_corpus
from ra_ner.errors import UserError


def read(tmp_path, content, name="test.txt", language="zh"):
    """The texts, and for each the mentions with their types, whose offsets slice."""
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    passages = load_corpus(str(tmp_path / name), language).passages
    assert all(e.start is None or p.text[e.start : e.end] == e.text for p in passages for e in p.entities)
    return [(p.text, [(e.text, e.type) for e in p.entities]) for p in passages]


def test_boson_marks_entities_in_the_text_and_nests_them(tmp_path):
    content = (
        "{{time:昨天}}，{{person_name: 罗莎}}到了。\n无事。\n"
        "{{product_name:{{company_name:蓝河}}周报}}{{location:伯尔尼}}版\n"
    )
    assert read(tmp_path, content) == [
        ("昨天， 罗莎到了。", [("昨天", "time"), ("罗莎", "person_name")]),
        ("无事。", []),
        ("蓝河周报伯尔尼版", [("蓝河", "company_name"), ("蓝河周报", "product_name"), ("伯尔尼", "location")]),
    ]


def test_boson_as_the_release_of_ra_it_has_it(tmp_path):
    """A mention is an entity wherever it stands; the text keeps its line end, which the released prompts show."""
    rows = [
        '{"id": 7, "sentence": "罗莎问罗莎：在伯尔尼？\\n", "label": {"罗莎": "人名", "伯尔尼": "地点名称"}}',
        '{"id": 8, "sentence": "无事。\\n", "label": {}}',
    ]
    assert read(tmp_path, "\n".join(rows), "test.jsonl") == [
        ("罗莎问罗莎：在伯尔尼？\n", [("罗莎", "人名"), ("罗莎", "人名"), ("伯尔尼", "地点名称")]),
        ("无事。\n", []),
    ]


def test_a_label_whose_keys_are_not_in_the_text_has_no_mentions(tmp_path):
    with pytest.raises(UserError, match="unknown form"):
        read(tmp_path, '{"text": "罗莎到了。", "label": {"mood": "good"}}', "test.jsonl")


def test_msra_tags_words_and_peoples_daily_brackets_names(tmp_path):
    content = (
        "罗莎/nr 到/o 巴塞尔/ns ，/o 见/o 蓝河学会/nt 的人/o \n昨天无事/o \n"
        "20140101-01-001-001/m [巴塞尔/ns 大学/n]/nt 今晨/t 开会/v [/w 伯尔尼/nsf ]/w\n[蓝河/ns 报/n]nt\n"
    )
    assert read(tmp_path, content) == [
        ("罗莎到巴塞尔，见蓝河学会的人", [("罗莎", "nr"), ("巴塞尔", "ns"), ("蓝河学会", "nt")]),
        ("昨天无事", []),
        ("巴塞尔大学今晨开会[伯尔尼]", [("巴塞尔", "ns"), ("巴塞尔大学", "nt"), ("今晨", "t"), ("伯尔尼", "ns")]),
        ("蓝河报", [("蓝河", "ns"), ("蓝河报", "nt")]),
    ]


def test_chip_2020_counts_the_last_character_in(tmp_path):
    content = (
        "患者发热，查血象。|||2    3    sym|||6    7    ite|||\r\n今日出院。|||\r\n"
        "肺内炎症。|||0    0    bod|||0    3    sym|||\r\n"
    )
    assert read(tmp_path, content) == [
        ("患者发热，查血象。", [("发热", "sym"), ("血象", "ite")]),
        ("今日出院。", []),
        ("肺内炎症。", [("肺", "bod"), ("肺内炎症", "sym")]),
    ]


def test_a_line_that_is_none_of_its_form_is_skipped_and_shown(tmp_path, capsys):
    content = "发热。|||0    1    sym|||\n" * 9 + "咳嗽。|||0    x    sym|||\n"
    assert len(read(tmp_path, content)) == 9
    assert "skipped line 10: after the text, each entity is `start    last    type|||`" in "".join(capsys.readouterr())
    with pytest.raises(UserError, match=r"\{\{person_name: has no \}\}"):
        read(tmp_path, "{{person_name:罗莎到了{{time:昨天}}\n")


def test_weibo_writes_each_half_of_an_emoji_on_a_line_of_its_own(tmp_path):
    """The first edition; each half may be tagged, and emoji may follow each other."""
    lines = "罗\tB-PER.NAM\n莎\tI-PER.NAM\n\ud83d\tO\n\ude00\tO\n\ud83d\tB-PER.NOM\n\udc69\tI-PER.NOM\n啊\tO\n\n好\tO\n"
    content = lines.encode("utf-8", "surrogatepass")
    name = "weiboNER.conll.test"
    assert read(tmp_path, content, name) == [("罗莎😀👩啊", [("罗莎", "PER.NAM"), ("👩", "PER.NOM")]), ("好", [])]
    with pytest.raises(UserError, match=r"can't be read .* save it as UTF-8"):
        read(tmp_path, "罗莎到了".encode("gb18030"), name)


LINES = st.lists(
    st.sampled_from(
        ["{{", "}}", "person_name:", "|||", "3    9    bod", "0 1 t", "[", "]", "/", "nr", "nt", " ", "罗", "a"]
    )
    | st.text(max_size=3)
).map("".join)
READERS = [benchmark_forms.read_marked_up, benchmark_forms.read_barred, benchmark_forms.read_words_with_tags]


@given(LINES, st.sampled_from(READERS), st.sampled_from(["en", "zh"]))
def test_any_line_is_read_or_refused_with_a_reason(line, reader, language):
    try:
        draft = reader(line, Context(language))
    except ValueError as error:
        assert str(error)
    else:
        assert all(annotation.type and annotation.start is not None for annotation in draft.annotations)
        if reader is not benchmark_forms.read_barred:  # its offsets are checked when they are resolved
            assert all(0 <= a.start <= a.end <= len(draft.text) for a in draft.annotations)
