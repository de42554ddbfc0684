"""Tagged text: the columns of tokens and tags are found, and the tags of every scheme are read."""

import pytest
from corpus_forms import entities
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ra_ner.corpora.sources import SKIPPED, load_corpus
from ra_ner.corpora.tags import find_spans
from ra_ner.errors import UserError
from ra_ner.passage import Entity


def test_conll_with_bom_crlf_documents_and_columns(write):
    lines = "-DOCSTART- -X- O\n\nEU NNP I-ORG\nrejects VBZ O\n\n \nNew\tNNP\tB-LOC\nYork\tNNP\tI-LOC"
    content = b"\xef\xbb\xbf" + lines.replace("\n", "\r\n").encode()
    passages = load_corpus(write(content, "train.txt"), "en").passages
    assert [(p.id, p.text) for p in passages] == [("train-0", "EU rejects"), ("train-1", "New York")]
    assert [entities(p) for p in passages] == [[("EU", "ORG", 0, 2)], [("New York", "LOC", 0, 8)]]


def test_chinese_characters_are_joined_and_white_space_may_be_a_token(write):
    lines = "在 O\n胡 B-PER\n锦 I-PER\n涛 I-PER\n  O\n\u3000 O\n[ O\n京 S-LOC\n。 O\n"
    (passage,) = load_corpus(write(lines, "msra.txt"), "zh").passages
    assert passage.text == "在胡锦涛 \u3000[京。"
    assert entities(passage) == [("胡锦涛", "PER", 1, 4), ("京", "LOC", 7, 8)]


def test_a_tagged_file_may_begin_with_a_bracket(write):
    assert load_corpus(write("[ O\nAda B-per\n", "a.txt"), "en").passages[0].text == "[ Ada"
    assert load_corpus(write("{ O\nAda B-per\n", "a.txt"), "en").passages[0].text == "{ Ada"


@pytest.mark.parametrize("tags", ["B-a L-a U-b B-b", "B-a E-a S-b S-b", "B-a I-a B-b B-b", "I-a I-a I-b B-b"])
def test_other_prefixes(write, tags):
    lines = "\n".join(f"{token} {tag}" for token, tag in zip("wxyz", tags.split(), strict=True))
    found = entities(load_corpus(write(lines, "a.txt"), "en").passages[0])
    assert found == [("w x", "a", 0, 3), ("y", "b", 4, 5), ("z", "b", 6, 7)]


def bio(spans, length: int) -> list[str]:
    tags = ["O"] * length
    for start, end, type_ in spans:
        tags[start:end] = [f"B-{type_}"] + [f"I-{type_}"] * (end - start - 1)
    return tags


def iob1(spans, length: int) -> list[str]:
    """B- only where an entity follows one of its type at once."""
    tags = bio(spans, length)
    ends = {(end, type_) for _, end, type_ in spans}
    for start, _, type_ in spans:
        if (start, type_) not in ends:
            tags[start] = f"I-{type_}"
    return tags


def bioes(spans, length: int) -> list[str]:
    tags = bio(spans, length)
    for start, end, type_ in spans:
        tags[end - 1] = f"{'S' if end - start == 1 else 'E'}-{type_}"
    return tags


@st.composite
def tagged(draw):
    """Tokens, and entity spans over them that do not overlap."""
    tokens = draw(st.lists(st.text("ab京#[{-O'", min_size=1, max_size=3), min_size=1, max_size=12))
    spans, position = [], 0
    while position < len(tokens):
        length = draw(st.integers(1, 3))
        type_ = draw(st.sampled_from([None, "person", "event-date", "地 名"]))
        if type_ and position + length <= len(tokens):
            spans.append((position, position + length, type_))
        position += length
    return tokens, spans or [(0, 1, "person")]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tagged(), st.sampled_from([bio, iob1, bioes]), st.sampled_from(["en", "zh"]))
def test_tags_of_any_spans_are_read_back(write, sentence, scheme, language):
    tokens, spans = sentence
    # A type with a blank needs tabs between the columns.
    lines = [f"{token}\t{tag}" for token, tag in zip(tokens, scheme(spans, len(tokens)), strict=True)]
    (passage,) = load_corpus(write("\n".join(lines), "a.txt"), language).passages
    space = " " if language == "en" else ""
    assert passage.text == space.join(tokens)
    expected = []
    for first, last, type_ in spans:
        start = len("".join(token + space for token in tokens[:first]))
        mention = space.join(tokens[first:last])
        expected.append(Entity(mention, type_, start, start + len(mention)))
    assert list(passage.entities) == expected


# --- where the columns are

MET = [[("Ada", "PER", 0, 3), ("Bo", "PER", 8, 10)], [("Oslo", "LOC", 0, 4)]]


def columns(template: str) -> str:
    """Two sentences with the cells of a template, in which t is the token, g the tag and n the number of the token."""
    sentences = [[("Ada", "B-PER"), ("met", "O"), ("Bo", "B-PER")], [("Oslo", "B-LOC"), ("is", "O"), ("far", "O")]]
    made = [
        "\n".join(template.format(t=token, g=tag, n=n) for n, (token, tag) in enumerate(sentence, 1))
        for sentence in sentences
    ]
    return "\n\n".join(made)


@pytest.mark.parametrize(
    "template",
    [
        "{t}\t{g}",
        "{n}\t{t}\t{g}",
        "{n}\t{t}\t{g}\t-\tann1",  # Universal NER
        "{n}\t{t}\t_\tNN\tNNP\t_\t1\tdep\t_\t{g}",  # CoNLL-U
        "{t} NNP B-NP {g}",  # CoNLL-2003
        "{t} lemma NN B-NC {g}",
        "{t} _ _ {g}",  # MultiCoNER
        "doc1\t{n}\t{t}\t{g}",
        "{g}\t{t}",  # MIT
        "{t}    {g}",
        "{t}\t\t{g}",
        "{t}\u00a0{g}",
        "  {t} {g}  ",
    ],
)
def test_columns_are_found_by_what_stands_in_them(write, template):
    corpus = load_corpus(write(columns(template), "a.txt"), "en")
    assert [p.text for p in corpus.passages] == ["Ada met Bo", "Oslo is far"]
    assert list(map(entities, corpus.passages)) == MET
    assert not corpus.counts


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(write, end):
    corpus = load_corpus(write(columns("{t} {g}").replace("\n", end), "a.txt"), "en")
    assert list(map(entities, corpus.passages)) == MET


def test_comments_and_the_ranges_of_conll_u_are_no_tokens(write):
    lines = (
        "# sent_id = 1\n# text = Ada\tdomain=en\n1-2\tAdamet\t_\n1\tAda\tB-PER\n2\tmet\tO\n2.1\tx\t_\n3\tBo\tB-PER\n"
    )
    (passage,) = load_corpus(write(lines, "a.conllu"), "en").passages
    assert (passage.text, entities(passage)) == ("Ada met Bo", MET[0])


def test_a_hash_may_be_a_token(write):
    (passage,) = load_corpus(write("#Oslo B-LOC\nis O\n# O\n1 O\n", "a.txt"), "en").passages
    assert (passage.text, entities(passage)) == ("#Oslo is # 1", [("#Oslo", "LOC", 0, 5)])


def test_a_header_is_no_token(write):
    corpus = load_corpus(write("Token\tPOS\tTag\n" + columns("{t}\tNN\t{g}"), "a.tsv"), "en")
    assert list(map(entities, corpus.passages)) == MET


def test_lines_with_fewer_columns_are_counted_from_the_end(write):
    lines = "Ada NNP B-NP B-PER\nmet VBD O\nBo NNP B-NP B-PER\n. . O O\n"
    corpus = load_corpus(write(lines, "a.txt"), "en")
    assert entities(corpus.passages[0]) == MET[0] and not corpus.counts
    assert "tags in the last column" in corpus.form


def test_a_token_may_hold_blanks(write):
    lines = "New York B-LOC\nis O\nfar O\naway O\n\nin O\nOslo B-LOC\n"
    assert load_corpus(write(lines, "a.txt"), "en").passages[0].text == "New York is far away"


def test_conll_2012(write):
    lines = """#begin document (nw/x); part 000
nw/x 0 0 Ada NNP (TOP(S(NP* - - - - (PERSON* (ARG0* (0)
nw/x 0 1 Lovelace NNP *) - - - - *) *) -
nw/x 0 2 left VBD (VP* leave 01 - - * (V*) -
nw/x 0 3 Oslo NNP (NP*)) - - - - (GPE) (ARG1*) -
nw/x 0 4 . . *)) - - - - * * -

#end document
"""
    (passage,) = load_corpus(write(lines, "x.gold_conll"), "en").passages
    assert passage.text == "Ada Lovelace left Oslo ."
    assert entities(passage) == [("Ada Lovelace", "PERSON", 0, 12), ("Oslo", "GPE", 18, 22)]


def test_two_columns_of_tags_hold_nested_entities(write):
    lines = "1\tUni\tB-ORG\tO\n2\tOslo\tI-ORG\tB-LOC\n3\tteaches\tO\tO\n"
    assert entities(load_corpus(write(lines, "a.tsv"), "en").passages[0]) == [
        ("Uni Oslo", "ORG", 0, 8),
        ("Oslo", "LOC", 4, 8),
    ]


def test_two_columns_of_tags_for_the_same_tokens_must_be_chosen(write):
    path = write("Ada B-PER B-ARTIST\nran O O\n", "a.txt")
    with pytest.raises(UserError, match="column 2 and column 3 both hold tags, .*`columns: {token: 1, tag: 3}`"):
        load_corpus(path, "en")
    assert load_corpus(path, "en", columns={"token": 1, "tag": 3}).passages[0].pairs == [("Ada", "ARTIST")]


def test_coarse_and_fine_tags_must_be_chosen_though_another_column_stands_between(write):
    """HIPE: coarse types, metonymic ones, fine types."""
    path = write("Ada B-pers O B-pers.author\nleft O O O\nOslo B-loc B-org B-loc.town\n", "a.tsv")
    with pytest.raises(UserError, match="column 2 and column 4 both hold tags, of the same tokens"):
        load_corpus(path, "en")


@pytest.mark.parametrize("number", [2, -2])
def test_the_user_names_the_columns(write, number):
    corpus = load_corpus(write("Ada B-x NNP\nran O VBD\n", "a.txt"), "en", columns={"token": 1, "tag": number})
    assert corpus.passages[0].pairs == [("Ada", "x")]


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"token": 1, "tag": 9}, "column 9 holds no tags"),
        ({"token": 1, "tag": 0}, "numbers from 1"),
        ({"token": "word", "tag": "ner"}, "numbers from 1"),
    ],
)
def test_wrong_columns_are_named(write, columns, message):
    with pytest.raises(UserError, match=message):
        load_corpus(write("Ada B-x\nran O\n", "a.txt"), "en", columns=columns)


# --- which scheme the tags follow


@pytest.mark.parametrize(
    "tags, name",
    [
        ("person person O city O", "types without a prefix"),
        ("I-person I-person O I-city O", "IO"),
        ("person_B person_I - city_B -", "BIO suffixes"),
        ("person-B person-E O city-S O", "BIOES suffixes"),
        ("b-person i-person o b-city o", "BIO"),
        ("B:person I:person O B:city O", "BIO"),
        ("(person* *) * (city) *", "brackets"),
    ],
)
def test_schemes(write, tags, name):
    lines = "\n".join(f"{token} {tag}" for token, tag in zip("vwxyz", tags.split(), strict=True))
    corpus = load_corpus(write(lines, "a.txt"), "en")
    assert entities(corpus.passages[0]) == [("v w", "person", 0, 3), ("y", "city", 6, 7)]
    assert corpus.form == f"tagged text, tokens in column 1, tags in column 2 ({name})"


@pytest.mark.parametrize("mark", "|,")
def test_joint_tags_hold_nested_entities(write, mark):
    lines = f"Uni B-ORG\nOslo I-ORG{mark}B-LOC\nteaches O\nnow O{mark}O\n"
    assert entities(load_corpus(write(lines, "a.txt"), "en").passages[0]) == [
        ("Uni Oslo", "ORG", 0, 8),
        ("Oslo", "LOC", 4, 8),
    ]


@pytest.mark.parametrize(
    "lines", ["Ada NNP\nran VBD\nfar RB\n", "the man\nthe dog\n", "a O\nb x\nc y\nd z\ne w\nf v\n"]
)
def test_words_and_parts_of_speech_are_no_types(write, lines):
    with pytest.raises(UserError, match="unknown form"):
        load_corpus(write(lines, "a.txt"), "en")


def test_weibo_numbers_the_characters_of_a_word(write):
    lines = "我0\tO\n在0\tO\n上0\tB-GPE.NAM\n海1\tI-GPE.NAM\n\n20\tO\n林0\tB-PER.NAM\n娜1\tI-PER.NAM\n"
    corpus = load_corpus(write(lines, "dev"), "zh")
    assert [p.text for p in corpus.passages] == ["我在上海", "2林娜"]
    assert [p.pairs for p in corpus.passages] == [[("上海", "GPE.NAM")], [("林娜", "PER.NAM")]]
    assert "without the digit" in corpus.form


def test_wikiann_writes_the_language_before_each_token(write):
    corpus = load_corpus(write("en:Ada\tB-PER\nen:ran\tO\nen::\tO\n\nen:Oslo\tB-LOC\n", "train"), "en")
    assert [p.text for p in corpus.passages] == ["Ada ran :", "Oslo"]
    assert entities(corpus.passages[0]) == [("Ada", "PER", 0, 3)]
    assert corpus.form.endswith("without en: before each token")
    assert load_corpus(write("en:Ada B-PER\nran O\n", "a.txt"), "en").passages[0].text == "en:Ada ran"


def test_words_that_end_in_digits_stay(write):
    lines = "B2 B-x\nC0 O\nB1 O\nA1 O\n"
    assert load_corpus(write(lines, "a.txt"), "en").passages[0].text == "B2 C0 B1 A1"


def test_tags_without_a_type_need_a_name(write):
    path = write("low O\ngrade O\nbone B\ncyst I\n", "a.tsv")
    with pytest.raises(UserError, match="have no type .B, I, O.: name it with `tag_names`"):
        load_corpus(path, "en")
    (passage,) = load_corpus(path, "en", tag_names={"B": "B-disease", "I": "I-disease"}).passages
    assert entities(passage) == [("bone cyst", "disease", 10, 19)]


def test_numbers_need_names(write, tmp_path):
    path = write("Ada 1\nLovelace 2\nran 0\n", "a.txt")
    with pytest.raises(UserError, match="column 2 are numbers without a name"):
        load_corpus(path, "en")
    for content in (
        "O\nB-x\nI-x\n",
        '["O", "B-x", "I-x"]',
        '{"O": 0, "B-x": 1, "I-x": 2}',
        '{"0": "O", "1": "x", "2": "x"}',
    ):
        names = write(content, "names")
        assert entities(load_corpus(path, "en", tag_names=names).passages[0]) == [("Ada Lovelace", "x", 0, 12)]
    write("O\nB-field hockey\nI-field hockey\n", "names")
    assert load_corpus(path, "en", tag_names=names).passages[0].types == ["field hockey"], "a name with a blank"
    for content, message in (("7", "it must name the tag"), ("{}", "it must name the tag"), (b"\xff", "can't be read")):
        with pytest.raises(UserError, match=message):
            load_corpus(path, "en", tag_names=write(content, "names"))


# --- malformed sentences


def test_a_sentence_with_a_bad_tag_is_skipped_and_shown_with_its_line(write, capsys):
    good = "Ada B-PER\nran O\n\n"
    for bad in ("Bo B-PER\nran O-PER\n\n", "Bo\nran O\n\n", "Bo PER\nran O\n\n"):
        corpus = load_corpus(write(good * 5 + bad + good, "a.txt"), "en")
        assert (len(corpus.passages), corpus.counts) == (6, {SKIPPED: 1})
        assert "skipped line 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "tags, spans",
    [
        (["U-a", "U-a"], [(0, 1), (1, 2)]),
        (["B-a", "U-a"], [(0, 1), (1, 2)]),
        (["U-a", "I-a"], [(0, 1), (1, 2)]),
        (["B-a", "L-a", "I-a"], [(0, 2), (2, 3)]),
        (["B-a", "L-a", "L-a"], [(0, 2), (2, 3)]),
        (["B-a", "I-a", "L-a", "O", "U-a"], [(0, 3), (4, 5)]),
    ],
)
def test_last_and_unit_tags_end_their_entity(tags, spans):
    assert find_spans(tags, "prefix") == [(start, end, "a") for start, end in spans]
