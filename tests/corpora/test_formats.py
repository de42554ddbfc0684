"""Corpora of others: each form is read exactly, and bad input ends in one line."""

import json

import pytest
from conftest import HUB
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ra_ner.corpora.annotations import NOT_FOUND, WRONG_OFFSETS
from ra_ner.corpora.sources import SKIPPED, load_corpus
from ra_ner.errors import UserError
from ra_ner.passage import Entity
from ra_ner.prompting.conversation import WORDINGS, training_conversation

OWN = {"id": "1", "text": "Ada met Ada.", "entities": [{"text": "Ada", "type": "person", "start": 0, "end": 3}]}


@pytest.fixture
def write(tmp_path):
    """Write a file, rows as JSON Lines, and return its path."""

    def write(content, name: str = "corpus.jsonl") -> str:
        if isinstance(content, list):
            content = "\n".join(json.dumps(row, ensure_ascii=False) for row in content)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(tmp_path / name)

    return write


def chat(*turns: str, **more) -> dict:
    return {"conversations": [{"from": ("human", "gpt")[i % 2], "value": turn} for i, turn in enumerate(turns)], **more}


def entities(passage) -> list[tuple]:
    return [(e.text, e.type, e.start, e.end) for e in passage.entities]


# --- our own corpus


def test_our_corpus_as_lines_array_and_parquet(write, tmp_path):
    path = write([OWN])
    Dataset.from_list([OWN]).to_parquet(tmp_path / "corpus.parquet")
    for source in (path, write(json.dumps([OWN], indent=1), "corpus.json"), str(tmp_path / "corpus.parquet")):
        assert load_corpus(source, "en").passages == load_corpus(path, "en").passages


def test_a_parquet_file_rebuilt_under_its_name_is_read_anew(tmp_path):
    for text in ("Ada met Ada.", "Ada left."):
        Dataset.from_list([{**OWN, "text": text}]).to_parquet(tmp_path / "corpus.parquet")
        assert load_corpus(str(tmp_path / "corpus.parquet"), "en").passages[0].text == text


def own(**change) -> dict:
    return {**OWN, "entities": [{**OWN["entities"][0], **change}]}


def test_offsets_may_be_unknown(write):
    passage = load_corpus(write([own(start=None, end=None)]), "en").passages[0]
    assert entities(passage) == [("Ada", "person", None, None)]


@pytest.mark.parametrize("start, end", [(-12, -9), (-4, -1), (-4, 11), (8, 99)])
def test_offsets_outside_of_the_text_are_wrong_even_where_a_slice_is_right(write, start, end):
    """Python counts negative offsets from the end, and slices beyond it."""
    row = own(text=OWN["text"][start:end], start=start, end=end)
    with pytest.raises(UserError, match=rf"text\[{start}:{end}\] is not that mention"):
        load_corpus(write([row]), "en")
    of_doccano = {"text": row["text"], "label": [[start, end, "person"]]}
    with pytest.raises(UserError, match="outside of the text"):
        load_corpus(write([of_doccano]), "en")
    of_others = {"text": row["text"], "entities": [{"entity": row["entities"][0]["text"], "type": "person"}]}
    of_others["entities"][0] |= {"start_idx": start, "end_idx": end}
    corpus = load_corpus(write([of_others]), "en")
    assert corpus.passages[0].entities[0].start is None and corpus.counts == {WRONG_OFFSETS: 1}


@pytest.mark.parametrize(
    "row, message",
    [
        ([1], "unknown form"),
        (own(start=1, end=4), r"text\[1:4\] is not that mention"),
        (own(end=None), "both must be whole numbers"),
        (own(start="0"), "both must be whole numbers"),
        (own(type=""), "is not the name of a type"),
        (own(text=""), "a mention must be a non-empty string"),
    ],
)
def test_a_wrong_row_of_our_own_is_named(write, row, message):
    with pytest.raises(UserError, match=message) as error:
        load_corpus(write([row]), "en")
    assert "corpus.jsonl" in str(error.value)


def test_every_real_corpus_is_read(shared):
    files = sorted(shared.glob("data/*/*/*.jsonl"))
    assert files
    for file in files:
        assert load_corpus(str(file), file.parts[-3]).passages


# --- conversations


def test_the_released_conversations_hold_the_released_annotations(shared):
    golden = shared / "golden"
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


# --- tagged text


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


# --- CLUENER and CMeEE


def test_cluener(write):
    label = {"name": {"叶老桂": [[0, 2], [5, 7]]}, "company": {"浙商": [[3, 4]], "无": [[1, 1]]}}
    source = load_corpus(write([{"text": "叶老桂浙商叶老桂", "label": label}]), "zh")
    assert entities(source.passages[0]) == [
        ("叶老桂", "name", 0, 3),
        ("叶老桂", "name", 5, 8),
        ("浙商", "company", 3, 5),
        ("无", "company", None, None),
    ]
    assert source.counts == {WRONG_OFFSETS: 1}


def test_cmeee_with_inclusive_and_exclusive_ends(write):
    def row(end, **more):
        entity = {"start_idx": 2, "end_idx": end, "type": "sym", "entity": "水肿"}
        return {"text": "合并水肿、", "entities": [entity], **more}

    no_entities = {"text": "无", "entities": []}
    rows = [no_entities, row(3), row(4), row(9)]
    for path in (write(rows), write(json.dumps(rows), "dev.json"), write([{**r, "id": i} for i, r in enumerate(rows)])):
        source = load_corpus(path, "zh")
        spans = [[(e.text, e.start, e.end) for e in p.entities] for p in source.passages]
        assert spans == [[], [("水肿", 2, 4)], [("水肿", 2, 4)], [("水肿", None, None)]]
        assert source.counts == {WRONG_OFFSETS: 1}


# --- rows of tokens and tags

LABELS = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-PER", "I-PER"]))})
TOKENS = {"tokens": [["Ada", "Lovelace", "wrote"], ["Yes"]], "ner_tags": [[1, 2, 0], [0]]}


def test_tokens_with_class_labels_and_with_strings(write, tmp_path):
    Dataset.from_dict(TOKENS, LABELS).to_parquet(tmp_path / "a.parquet")
    rows = [
        {"tokens": ["Ada", "Lovelace", "wrote"], "tags": ["B-PER", "I-PER", "O"]},
        {"tokens": ["Yes"], "tags": ["O"]},
    ]
    expected = load_corpus(write(rows, "a.json"), "en").passages
    assert entities(expected[0]) == [("Ada Lovelace", "PER", 0, 12)] and expected[1].entities == ()
    assert load_corpus(str(tmp_path / "a.parquet"), "en").passages == expected


def test_a_row_with_too_few_tags_is_skipped(write):
    rows = [*[{"tokens": ["Ada"], "tags": ["B-PER"]}] * 4, {"tokens": ["Ada", "ran"], "tags": ["B-PER"]}]
    assert load_corpus(write(rows), "en").counts == {SKIPPED: 1}


def test_numbers_without_names_are_refused(tmp_path):
    numbers = Features({"tokens": List(Value("string")), "tags": List(Value("int32"))})
    Dataset.from_dict({"tokens": [["Ada"]], "tags": [[3]]}, numbers).to_parquet(tmp_path / "a.parquet")
    unlabelled = {"tokens": [["Ada"]], "ner_tags": [[-1]]}
    Dataset.from_dict(unlabelled, LABELS).to_parquet(tmp_path / "b.parquet")
    for name, tag in (("a", 3), ("b", -1)):
        with pytest.raises(UserError, match=f"the tags are numbers without a name .{tag}, .*`labels: FILE`"):
            load_corpus(str(tmp_path / f"{name}.parquet"), "en")


# --- bad input


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"id": "1"}\n{"id', "unknown form"),
        (json.dumps(OWN) + '\n{"id', "1 of 2 rows are malformed.* line 2: not JSON"),
        ('[\n{"id": "1"},\n{"id"]', "line 3: not JSON .* is needed"),
        ('{"a": ' + "[" * 100_000, "line 1: not JSON"),
        ("nothing known", "unknown form. Known are: {id, text, entities}; CoNLL text.*ShareGPT.*CLUENER.*CMeEE"),
        ('{"txt": "Ada"}', "unknown form. Known are: .*"),
        ("", "is empty; a corpus needs"),
        ("\n\n", "is empty; a corpus needs"),
        (b"\xff\xfe\x00", "can't be read .* UTF-8"),
        ("EU O\nrejects B-", "unknown form"),
        ("EU O\nrejects", "line 2: a line must hold a token and its tag"),
        ("EU O", "no passage has an entity"),
        ([{"tokens": ["Ada"], "tags": ["PER"]}], "the tags follow no scheme that is known .'PER'"),
        ([{"tokens": ["Ada"], "tags": [1]}], "the tags are numbers without a name"),
        ([{"conversations": []}], r"none of its 1 rows is a valid ShareGPT"),
        ([{**OWN, "entities": [1]}], "row 1: an entity is"),
        ([{**OWN, "entities": 1}], "unknown form"),
        ([OWN, {**OWN, "text": " "}], "line 2: entity 'Ada'"),
        ([OWN, {**OWN, "text": " ", "entities": []}], "line 2: the text is empty"),
    ],
)
def test_bad_files_are_refused_in_one_line(write, content, message):
    with pytest.raises(UserError, match=message) as error:
        load_corpus(write(content), "en")
    assert "corpus.jsonl" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_and_a_broken_parquet_file(write, tmp_path):
    with pytest.raises(UserError, match="is a folder"):
        load_corpus(str(tmp_path), "en")
    with pytest.raises(UserError, match="a.parquet: can't be read"):
        load_corpus(write("no Parquet", "a.parquet"), "en")


# --- the Hub


def test_sharegpt_json_of_the_hub_is_read_at_a_commit(hub):
    rows = [chat("Text: Ada", "ok", "What describes person in the text?", '["Ada"]', id=f"r{i}") for i in range(3)]
    hub.create("dataset", "others/readers-chat")
    first = hub.put("dataset", "others/readers-chat", {"train.json": json.dumps(rows).encode()})
    second = hub.put("dataset", "others/readers-chat", {"train.json": json.dumps(rows[:2]).encode()})
    source = load_corpus("others/readers-chat", "en")
    assert (source.commit, [p.id for p in source.passages]) == (second, ["r0", "r1"])
    pinned = load_corpus("others/readers-chat", "en", revision=first)
    assert (pinned.commit, len(pinned.passages)) == (first, 3)


def test_cluener_of_the_hub(hub):
    rows = [
        {"text": "叶老桂", "label": {"name": {"叶老桂": [[0, 2]]}}},
        {"text": "浙商", "label": {"company": {"浙商": [[0, 1]]}}},
    ]
    hub.create("dataset", "others/readers-cluener")
    content = "\n".join(json.dumps(row) for row in rows).encode()
    hub.put("dataset", "others/readers-cluener", {"train.jsonl": content})
    source = load_corpus("others/readers-cluener", "zh")
    assert [p.pairs for p in source.passages] == [[("叶老桂", "name")], [("浙商", "company")]] and not source.counts


def test_class_labels_of_the_hub(hub):
    Dataset.from_dict(TOKENS, LABELS).push_to_hub("tester/readers-labels", split="test")
    source = load_corpus("tester/readers-labels", "en", split="test")
    assert entities(source.passages[0]) == [("Ada Lovelace", "PER", 0, 12)]
    assert source.passages[0].id == "readers-labels-test-0"
    with pytest.raises(UserError, match="split 'train' of dataset 'tester/readers-labels' can't be read .*test"):
        load_corpus("tester/readers-labels", "en")


def test_the_license_that_the_card_names(hub):
    row = chat("Text: Ada", "ok", "What describes person in the text?", '["Ada"]')
    hub.create("dataset", "others/readers-license")
    card = b"---\nlicense: cc-by-nc-4.0\n---\n"
    hub.put("dataset", "others/readers-license", {"train.json": json.dumps([row]).encode(), "README.md": card})
    assert load_corpus("others/readers-license", "en").license == "cc-by-nc-4.0"


def test_numbers_that_a_label_file_names(hub, tmp_path):
    Dataset.from_dict({"tokens": [["Ada", "Lovelace", "ran"]], "tags": [[1, 2, 0]]}).to_parquet(
        tmp_path / "rows.parquet"
    )
    files = {"train.parquet": (tmp_path / "rows.parquet").read_bytes()}
    hub.create("dataset", "others/readers-tner")
    hub.put("dataset", "others/readers-tner", files)
    with pytest.raises(UserError, match="the tags are numbers without a name"):
        load_corpus("others/readers-tner", "en")
    hub.put("dataset", "others/readers-tner", {"dataset/label.json": b"[]"})
    with pytest.raises(UserError, match="dataset/label.json of .* is not a JSON object of names and numbers"):
        load_corpus("others/readers-tner", "en")
    labels = {"O": 0, "B-PER": 1, "I-PER": 2}
    hub.put("dataset", "others/readers-tner", {"dataset/label.json": json.dumps(labels).encode()})
    assert entities(load_corpus("others/readers-tner", "en").passages[0]) == [("Ada Lovelace", "PER", 0, 12)]


def test_a_private_or_gated_source_asks_for_a_token(hub, monkeypatch):
    hub.create("dataset", "others/readers-private", private=True)
    with pytest.raises(UserError, match="private and the token can't see it: check the id, or log in"):
        load_corpus("others/readers-private", "en")


def put_script(repo_id: str, tmp_path, configs: list[str]) -> tuple[str, str]:
    """A loading script with the Parquet copy of its configs; returns the commits of both."""
    Dataset.from_dict(TOKENS, LABELS).to_parquet(tmp_path / "rows.parquet")
    HUB.create("dataset", repo_id)
    script = HUB.put("dataset", repo_id, {f"{repo_id.split('/')[1]}.py": b"raise SystemExit"})
    rows = (tmp_path / "rows.parquet").read_bytes()
    files = {f"{config}/train/0000.parquet": rows for config in configs}
    return script, HUB.repos["dataset", repo_id].commit("refs/convert/parquet", files, "Convert").sha


def test_the_parquet_copy_of_a_loading_script(hub, tmp_path):
    script, copy = put_script("others/readers-script", tmp_path, ["readers"])
    source = load_corpus("others/readers-script", "en")
    assert source.commit == copy and entities(source.passages[0]) == [("Ada Lovelace", "PER", 0, 12)]
    assert load_corpus("others/readers-script", "en", revision=copy) == source
    with pytest.raises(UserError, match="is a loading script at .* leave out the revision"):
        load_corpus("others/readers-script", "en", revision=script)


def test_a_loading_script_without_a_copy_or_with_several_configs(hub, tmp_path):
    put_script("others/readers-two", tmp_path, ["en", "zh"])
    with pytest.raises(UserError, match="several configs; choose one of en, zh"):
        load_corpus("others/readers-two", "en")
    assert entities(load_corpus("others/readers-two", "en", config="zh").passages[0]) == [
        ("Ada Lovelace", "PER", 0, 12)
    ]
    with pytest.raises(UserError, match="has no en/test, only en/train, zh/train"):
        load_corpus("others/readers-two", "en", split="test", config="en")
    put_script("others/readers-none", tmp_path, [])
    del hub.repos["dataset", "others/readers-none"].branches["refs/convert/parquet"]
    with pytest.raises(UserError, match="is a loading script, and its Parquet copy .* can't be read"):
        load_corpus("others/readers-none", "en")


def test_what_is_neither_a_file_nor_on_the_hub(hub):
    for source in ("others/readers-missing", "data/no/such/file.jsonl"):
        with pytest.raises(
            UserError, match=f"{source}' is not a file in /.* or beside the recipe, and not readable on the Hub: "
        ):
            load_corpus(source, "en")
    hub.create("dataset", "others/readers-empty")
    with pytest.raises(UserError, match="others/readers-empty' can't be read .*data files"):
        load_corpus("others/readers-empty", "en")


def test_a_cached_commit_is_not_taken_for_another(hub, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    row = chat("Text: Ada", "ok", "What describes person in the text?", '["Ada"]')
    hub.create("dataset", "others/readers-cached")
    hub.put("dataset", "others/readers-cached", {"train.json": json.dumps([row]).encode()})
    load_corpus("others/readers-cached", "en")
    hub.put("dataset", "others/readers-cached", {"train.json": json.dumps([row, row]).encode()})
    hub.fail("GET .*/tree/", status=500, times=1000)
    with pytest.raises(UserError, match="can't be read.*run this again later"):
        load_corpus("others/readers-cached", "en")
    hub.heal()
    assert len(load_corpus("others/readers-cached", "en").passages) == 2
