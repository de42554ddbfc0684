"""The table of benchmarks, their label sets, and the files that people have of them."""

import json
import re
from collections import Counter
from dataclasses import asdict

import pytest
from conftest import HUB, run_command
from datasets import ClassLabel, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st

from ra_ner.commands import benchmarks
from ra_ner.corpora.benchmarks import BENCHMARKS, load_benchmark, merge_questions
from ra_ner.corpora.folders import find_part
from ra_ner.corpora.label_words import label_key
from ra_ner.corpora.sources import load_recipe_corpus
from ra_ner.errors import UserError
from ra_ner.evaluation.run import types_asked, untrained_words
from ra_ner.passage import Entity, Passage
from ra_ner.prompting.conversation import WORDINGS, query
from ra_ner.recipe_keys import DatasetConfig
from ra_ner.tasks.scoring import score

LABELS = Features(
    {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-programlang", "B-misc"]))}
)


def test_the_papers_benchmarks_are_there():
    names = {language: {n for n, e in BENCHMARKS.items() if e.language == language} for language in ("en", "zh")}
    domains = ("ai", "literature", "music", "politics", "science")
    assert names["en"] == {"sample_en", "mit_movie", "mit_restaurant", *(f"crossner_{domain}" for domain in domains)}
    assert names["zh"] == {
        "sample_zh",
        *("ontonotes4", "msra", "weibo", "boson", "cluener", "cmeee", "renminribao", "yidu"),
    }
    for entry in BENCHMARKS.values():
        words = list((entry.words or {}).values())
        assert len(words) == len(set(words)) and all(words), "two labels with the same words could not be told apart"


def test_a_benchmark_of_the_hub(hub, tmp_path):
    """CrossNER's repo is a loading script; each config is read from the Hub's Parquet copy."""
    rows = {"tokens": [["Ada", "is", "old"]], "ner_tags": [[1, 0, 2]]}
    Dataset.from_dict(rows, LABELS).to_parquet(tmp_path / "rows.parquet")
    hub.create("dataset", "DFKI-SLT/cross_ner")
    hub.put("dataset", "DFKI-SLT/cross_ner", {"cross_ner.py": b"raise SystemExit"})
    content = (tmp_path / "rows.parquet").read_bytes()
    files = {f"{config}/{split}/0000.parquet": content for config in ("ai", "music") for split in ("train", "test")}
    HUB.repos["dataset", "DFKI-SLT/cross_ner"].commit("refs/convert/parquet", files, "Convert")
    benchmark = load_benchmark("crossner_ai", "en")
    assert benchmark.test[0].types == ["programming language", "misc"] and len(benchmark.train) == 1
    assert "programming language" in benchmark.types and "misc" not in benchmark.types
    assert benchmark.label_set == "ra_ner"
    with pytest.raises(UserError, match="crossner_music: label 'programlang' has no words; add it to labels.json"):
        load_benchmark("crossner_music", "en")


def test_files_that_the_user_has_in_any_form(tmp_path):
    (tmp_path / "test.txt").write_text("Ada B-PER\nran O\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not on the Hub: get its files and write msra=PATH"):
        load_benchmark("msra", "zh")
    benchmark = load_benchmark(f"msra={tmp_path}", "zh")
    assert (benchmark.name, benchmark.test[0].types, benchmark.train) == ("msra", ["人名"], [])
    assert load_benchmark(f"msra={tmp_path / 'test.txt'}", "zh").types == ["地名", "机构名", "人名"]
    opened = load_benchmark(str(tmp_path), "en")
    assert (opened.types, opened.label_set, opened.test[0].types) == (None, "open", ["PER"])
    (tmp_path / "labels.json").write_text(json.dumps({"PER": "human being"}))
    own = load_benchmark(f"msra={tmp_path}", "zh")
    assert (own.types, own.label_set) == (["human being"], "labels.json")


@pytest.mark.parametrize(
    "labels", [b'{"PER": null}', b'{"PER": " "}', b'{"PER": ["a"]}', b'["PER"]', b'{"PER"', b"\xff"]
)
def test_labels_that_give_no_words(tmp_path, labels):
    (tmp_path / "test.txt").write_text("Ada B-PER\n", encoding="utf-8")
    (tmp_path / "labels.json").write_bytes(labels)
    with pytest.raises(
        UserError,
        match=r'labels.json: (it must map each label to the words .* \{"PER": "person"\}|can\'t be read as JSON)',
    ):
        load_benchmark(str(tmp_path), "en")


def test_two_spellings_of_a_label_with_other_words(tmp_path):
    write_tagged(tmp_path / "test.txt", "PER")
    (tmp_path / "labels.json").write_text('{"PER": "person", "Per": "human"}')
    with pytest.raises(UserError, match=r"labels.json: 'Per' stands there twice, in other spellings"):
        load_benchmark(str(tmp_path), "en")


def test_a_path_may_hold_an_equals_sign(tmp_path):
    file = write_tagged(tmp_path / "lang=en" / "test.txt", "PER")
    assert load_benchmark(str(file), "en").name == str(file)
    assert load_benchmark(f"mine={file}", "en").name == "mine"


def test_what_is_no_benchmark(tmp_path):
    with pytest.raises(UserError, match="unknown benchmark crossner_musik; did you mean crossner_music"):
        load_benchmark("crossner_musik", "en")
    with pytest.raises(UserError, match="benchmark msra is in zh, the recipe's language is en"):
        load_benchmark("msra", "en")
    with pytest.raises(UserError, match=r"benchmark mine: my_tst.conll does not exist \(looked in"):
        load_benchmark("mine=my_tst.conll", "en")
    with pytest.raises(UserError, match="is a folder with no data file, and none is named as its test part"):
        load_benchmark(f"mine={tmp_path}", "en")


def test_the_real_benchmarks_have_words_for_every_label(golden):
    for folder in sorted(golden.glob("data/*/*")):
        if folder.name in BENCHMARKS:
            entry = BENCHMARKS[folder.name]
            labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
            assert {label.lower() for label in labels} == entry.words.keys(), folder.name


def test_each_benchmark_is_listed_with_all_that_one_needs_to_use_it(capsys):
    benchmarks.main([])
    blocks = {block.split()[0]: block for block in capsys.readouterr().out.split("\n\n")}
    for name, spec in BENCHMARKS.items():
        facts = ["where", "license", "files", "checked", *(f"words: {label_set}" for label_set in spec.label_sets())]
        assert all(re.search(rf"^  {fact} +\S", blocks[name], re.MULTILINE) for fact in facts), name
    with pytest.raises(UserError, match="unknown benchmark bosson; did you mean boson?"):
        benchmarks.main(["bosson"])


# Label sets


@pytest.mark.parametrize("name", [name for name, spec in BENCHMARKS.items() if spec.words])
def test_no_spelling_of_a_label_stands_for_two(name):
    """Published files write a label as the raw label, or as the words of some label set."""
    spec = BENCHMARKS[name]
    for words in (spec.words, *spec.published.values()):
        assert words.keys() <= spec.words.keys() and len(set(words.values())) == len(words)
        for label, word in words.items():
            others = [other for published in (spec.words, *spec.published.values()) for other in published.items()]
            assert {label_key(other) for other, its_word in others if label_key(its_word) == label_key(word)} == {
                label_key(label)
            }


def said(capsys):
    return "".join(capsys.readouterr())


def write_tagged(path, *tags):
    """A file of one passage, with an entity of each type."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{path.stem}{number} B-{tag}\n" for number, tag in enumerate(tags)), encoding="utf-8")
    return path


def test_a_label_set_is_chosen_by_name(tmp_path):
    file = write_tagged(tmp_path / "ai" / "test.txt", "programlang", "organisation", "metrics", "misc")
    asked = {words: load_benchmark(f"crossner_ai={file}", "en", words) for words in ("ra_ner", "uniner", "file", None)}
    assert asked["ra_ner"].test[0].types == ["programming language", "organisation", "metric", "misc"]
    assert asked["uniner"].test[0].types == ["program language", "organization", "metrics", "misc"]
    assert "misc" not in asked["uniner"].types and "conference" in asked["uniner"].types
    assert asked["file"].types == ["programlang", "organisation", "metrics"]
    assert {words: benchmark.label_set for words, benchmark in asked.items()} == {
        **{"ra_ner": "ra_ner", "uniner": "uniner", "file": "file"},
        None: "ra_ner",
    }
    with pytest.raises(UserError, match="benchmark crossner_ai has no label set release; choose from ra_ner, uniner"):
        load_benchmark(f"crossner_ai={file}", "en", "release")
    with pytest.raises(UserError, match=r"benchmark mine has no label set uniner; choose from file"):
        load_benchmark(f"mine={file}", "en", "uniner")


def test_files_that_are_published_in_the_words_of_one_set_are_asked_in_another(tmp_path):
    """The release writes Boson's types as 地点名称 and 公司名称, the first publication as location and company_name."""
    for types in (["地点名称", "公司名称"], ["location", "company_name"], ["LOCATION", "Company-Name"]):
        file = write_tagged(tmp_path / "test.txt", *types)
        assert load_benchmark(f"boson={file}", "zh", "ra_ner").test[0].types == ["地名", "公司名"]
        assert load_benchmark(f"boson={file}", "zh", "release").test[0].types == ["地点名称", "公司名称"]


def test_boson_is_asked_as_the_release_asks_it(tmp_path):
    """In its words, in its wording, with texts and examples as its files have them."""
    rows = {
        "test": {"id": 0, "sentence": "昨天罗莎到了。\n", "label": {"昨天": "时间", "罗莎": "人名"}},
        "train": {"id": 0, "sentence": "蓝河公司说：“好”。\n", "label": {"蓝河公司": "公司名称"}},
    }
    for part, row in rows.items():
        (tmp_path / f"{part}.jsonl").write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    benchmark = load_benchmark(f"boson={tmp_path / 'test.jsonl'}", "zh", "release")
    assert benchmark.types == ["公司名称", "地点名称", "组织名称", "人名", "产品名称", "时间"]
    examples = load_benchmark(f"boson={tmp_path}", "zh", "release").train
    asked = query(benchmark.test[0].text, "人名", examples, WORDINGS["released_zh", "zh"])
    assert [turn["content"] for turn in asked] == [
        "以下是一些命名实体识别的例子：\n文本：蓝河公司说：“好”。\n\n实体：[{'蓝河公司': '公司名称'}]",
        "我已读完这些例子。",
        "文本： 昨天罗莎到了。\n",
        "我已读完这段文本。",
        '文本中属于"人名"的实体有哪些？',
    ]


def test_labels_json_is_the_files_own_set_unless_another_is_chosen(tmp_path):
    write_tagged(tmp_path / "test.txt", "PER")
    (tmp_path / "labels.json").write_text('{"per": "human"}')
    benchmark = load_benchmark(f"msra={tmp_path}", "zh", "file")
    assert (benchmark.types, benchmark.label_set) == (["human"], "labels.json")
    assert load_benchmark(str(tmp_path / "test.txt"), "zh").types == ["human"], "of a single file too"
    assert load_benchmark(f"msra={tmp_path}", "zh", "ra_ner").test[0].types == ["人名"]


def test_a_label_that_no_passage_has_is_not_asked(tmp_path, capsys):
    write_tagged(tmp_path / "test.txt", "PER")
    assert load_benchmark(f"msra={tmp_path}", "zh").not_asked == (), "a test part alone may be a sample"
    write_tagged(tmp_path / "dev.txt", "ORG")
    write_tagged(tmp_path / "train.txt", "PER")
    benchmark = load_benchmark(f"msra={tmp_path}", "zh")
    assert benchmark.types == ["机构名", "人名"] and benchmark.not_asked == ("地名",)
    assert "benchmark msra: not asked, because no passage has it: 地名" in said(capsys)
    alone = write_tagged(tmp_path / "ai" / "test.txt", "task")
    assert load_benchmark(f"crossner_ai={alone}", "en").not_asked == ("event",), "none of the published passages has it"
    alone = write_tagged(tmp_path / "ai" / "test.txt", "event")
    assert load_benchmark(f"crossner_ai={alone}", "en").not_asked == ()


def test_words_that_were_never_trained_are_told_if_their_label_was(tmp_path):
    write_tagged(tmp_path / "test.txt", "PER", "LOC")
    (tmp_path / "labels.json").write_text('{"PER": "person", "LOC": "LOC"}')
    benchmark = load_benchmark(str(tmp_path), "en")
    assert "'person' for 'PER'" in untrained_words(benchmark, lambda: {"PER", "LOC"})
    assert untrained_words(benchmark, lambda: {"person", "PER"}) is None
    assert untrained_words(benchmark, lambda: {"city"}) is None


def test_a_training_corpus_takes_the_words_of_labels_json_beside_it(here, tmp_path, capsys):
    file = write_tagged(tmp_path / "corpus" / "train.txt", "PER", "LOC", "Ship")
    file.write_text(file.read_text() + "\nBern B-LOC\n\nAda B-PER\n\nAare B-LOC\n")
    (tmp_path / "corpus" / "labels.json").write_text('{"PER": "person", "LOC": "location"}')
    run_command("build", "recipes/quickstart.yaml", "--corpus", file, "--strategy", "none", "--dry_run")
    printed = said(capsys)
    assert "What describes location in the text?" in printed or "What describes person in the text?" in printed
    assert "describes LOC" not in printed and '"words": {"PER": "person", "LOC": "location"}' in printed
    assert "labels are asked by the words of" in printed and "asked as written: Ship" in printed


def test_a_corpus_whose_tags_are_named_takes_the_words_of_labels_json_too(here, tmp_path):
    """As a benchmark does, whose tags label.json names."""
    rows = [{"tokens": ["Ada", f"ran {n}"], "tags": [1, 0]} for n in range(3)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "labels.json").write_text('{"PER": "person"}')
    config = DatasetConfig(corpus=str(tmp_path / "train.jsonl"), tag_names={"0": "O", "1": "B-PER"})
    assert load_recipe_corpus(config, "en").passages[0].types == ["person"]
    (tmp_path / "labels.json").write_text('["O", "B-PER"]')
    config = DatasetConfig(corpus=str(tmp_path / "train.jsonl"), tag_names=str(tmp_path / "labels.json"))
    assert load_recipe_corpus(config, "en").passages[0].types == ["PER"], "a labels.json that names the tags itself"


# Files of questions: one row for each text and type


def ask(text, type_, *mentions):
    question, answer = f"What describes {type_} in the text?", json.dumps(list(mentions))
    said = [("human", f"Text: {text}"), ("gpt", "I've read this text."), ("human", question), ("gpt", answer)]
    return {"conversations": [{"from": who, "value": value} for who, value in said]}


ROWS = [
    ask("Bo left Bonn for Bern .", "Restaurant Name"),
    ask("Bo left Bonn for Bern .", "City", "Bern", "Bonn"),
    ask("Ann sang .", "City"),
    ask("Bo left Bonn for Bern .", "person", "Bo"),
    ask("Ann sang .", "person", "Ann"),
]


def turns_of(row):
    """The text, the question and the answer of a row."""
    text, _, question, answer = (turn["value"] for turn in row["conversations"])
    return text, question, answer


def gold_of(benchmark):
    """(text, type) -> gold mentions, for each query."""
    asked = zip(benchmark.test, types_asked(benchmark, benchmark.test, 42), strict=True)
    return [(p.text, type_, [e.text for e in p.entities if e.type == type_]) for p, types in asked for type_ in types]


def test_a_file_of_questions_is_merged_by_text_and_asked_its_own_questions(tmp_path):
    (tmp_path / "q.json").write_text(json.dumps(ROWS))
    benchmark = load_benchmark(f"mine={tmp_path / 'q.json'}", "en")
    assert (len(benchmark.test), benchmark.types, benchmark.label_set) == (2, None, "file")
    assert gold_of(benchmark) == [
        ("Bo left Bonn for Bern .", "Restaurant Name", []),
        ("Bo left Bonn for Bern .", "City", ["Bern", "Bonn"]),
        ("Bo left Bonn for Bern .", "person", ["Bo"]),
        ("Ann sang .", "City", []),
        ("Ann sang .", "person", ["Ann"]),
    ]


def test_a_perfect_model_finds_all_that_a_file_of_questions_asks(tmp_path):
    (tmp_path / "q.json").write_text(json.dumps(ROWS))
    benchmark = load_benchmark(f"mine={tmp_path / 'q.json'}", "en")
    answers = {(text, question): answer for text, question, answer in map(turns_of, ROWS)}
    rows = [
        {
            "passage_id": passage.id,
            "type": type_,
            "gold": [asdict(entity) for entity in passage.entities if entity.type == type_],
            "raw_answer": (answer := answers[f"Text: {passage.text}", f"What describes {type_} in the text?"]),
            "parsed": True,
            "predicted": json.loads(answer),
        }
        for passage in benchmark.test
        for type_ in benchmark.asked[passage.id]
    ]
    figures = score(rows, {passage.id: passage.text for passage in benchmark.test}, samples=5).figures
    assert figures["queries"] == 5 and figures["span"]["f1"] == figures["uniner"]["f1"] == 1


def test_a_question_that_is_asked_again_is_another_passage(tmp_path):
    """CrossNER music has eight sentences twice, five of them with different entities: each row counts."""
    again = [*ROWS, ask("Ann sang .", "person"), ask("Ann sang .", "City")]
    (tmp_path / "q.json").write_text(json.dumps(again))
    benchmark = load_benchmark(f"mine={tmp_path / 'q.json'}", "en")
    assert [p.text for p in benchmark.test].count("Ann sang .") == 2 and len(gold_of(benchmark)) == len(again)
    assert gold_of(benchmark)[-2:] == [("Ann sang .", "person", []), ("Ann sang .", "City", [])]


QUESTIONS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.booleans()), min_size=1)


@given(QUESTIONS)
def test_the_queries_are_those_of_the_rows_one_by_one(rows):
    entity = {type_: Entity("b", type_) for type_ in "xyz"}
    passages = [Passage(str(n), text, (entity[t],) if found else ()) for n, (text, t, found) in enumerate(rows)]
    merged, asked = merge_questions(passages, {str(n): [type_] for n, (_, type_, _) in enumerate(rows)})
    queries = [(p.text, type_, entity[type_] in p.entities) for p in merged for type_ in asked[p.id]]
    assert sorted(queries) == sorted(rows)
    most_repeats = max(Counter((text, type_) for text, type_, _ in rows).values())
    assert max(Counter(p.text for p in merged).values()) == most_repeats, "as few passages as possible"


def test_alpaca_rows_are_questions_too(tmp_path):
    rows = [
        {"instruction": "List every city in the text.", "input": "Ada left Bern.", "output": '["Bern"]'},
        {"instruction": "List every person in the text.", "input": "Ada left Bern.", "output": '["Ada"]'},
        {"instruction": "List every ship in the text.", "input": "Ada left Bern.", "output": "[]"},
    ]
    (tmp_path / "q.json").write_text(json.dumps(rows))
    benchmark = load_benchmark(f"mine={tmp_path / 'q.json'}", "en")
    text = "Ada left Bern."
    assert gold_of(benchmark) == [(text, "city", ["Bern"]), (text, "person", ["Ada"]), (text, "ship", [])]


def test_questions_of_a_known_benchmark_can_be_asked_in_another_label_set(tmp_path):
    rows = [ask("tacos at Lou's", "Restaurant Name", "Lou's"), ask("tacos at Lou's", "Dish", "tacos")]
    (tmp_path / "q.json").write_text(json.dumps(rows))
    benchmark = load_benchmark(f"mit_restaurant={tmp_path / 'q.json'}", "en", "ra_ner")
    assert [type_ for _, type_, _ in gold_of(benchmark)] == ["restaurant name", "dish"]


# Folders, with file names as they are published


@pytest.mark.parametrize(
    "name, files, parts",
    [
        ("crossner_ai", "dev.txt test.txt train.txt", "test.txt|dev.txt|train.txt"),
        ("mit_movie", "engtest.bio engtrain.bio trivia10k13test.bio trivia10k13train.bio", "engtest.bio||engtrain.bio"),
        ("mit_restaurant", "restauranttest.bio restauranttrain.bio", "restauranttest.bio||restauranttrain.bio"),
        ("ontonotes4", "dev.char.bmes test.char.bmes train.char.bmes", "test.char.bmes|dev.char.bmes|train.char.bmes"),
        ("msra", "msra_test_bio.txt msra_train_bio.txt readme.md", "msra_test_bio.txt||msra_train_bio.txt"),
        ("msra", "test1.txt testright1.txt train1.txt train2pkl.py", "testright1.txt||train1.txt"),
        (
            "weibo",
            "crfsuite.weiboNER.charpos.conll.test pku_test_gold.utf8 weiboNER.conll.dev weiboNER.conll.test "
            "weiboNER.conll.train weiboNER_2nd_conll.dev weiboNER_2nd_conll.test weiboNER_2nd_conll.train",
            "weiboNER_2nd_conll.test|weiboNER_2nd_conll.dev|weiboNER_2nd_conll.train",
        ),
        ("cluener", "README.md cluener_predict.json dev.json test.json train.json", "test.json|dev.json|train.json"),
        ("cmeee", "CMeEE_dev.json CMeEE_test.json dev.json example_gold.json example_pred.json test.json", None),
        ("cmeee", "train_data.txt val_data.txt", "|val_data.txt|train_data.txt"),
        ("renminribao", "example.dev example.test example.train", "example.test|example.dev|example.train"),
        (
            "yidu",
            "subtask1_test_set_with_answer.json subtask1_training_part1.txt subtask1_training_part2.txt",
            "subtask1_test_set_with_answer.json||subtask1_training_part1.txt subtask1_training_part2.txt",
        ),
        (
            "mine",
            "contest.txt latest.md mine.train.jsonl mine.valid.jsonl",
            "contest.txt|mine.valid.jsonl|mine.train.jsonl",
        ),
        (
            "mine",
            "test.jsonl test.jsonl~ test.jsonl.bak .test.jsonl.swp #train.jsonl# train.jsonl train.jsonl.orig",
            "test.jsonl||train.jsonl",
        ),
    ],
)
def test_parts_are_found_by_the_names_of_published_files(tmp_path, name, files, parts):
    for file in files.split():
        (tmp_path / file).touch()
    names = BENCHMARKS[name].names if name in BENCHMARKS else ()
    found = (find_part(tmp_path, part, names) for part in ("test", "dev", "train"))
    expected = parts or "CMeEE_test.json|CMeEE_dev.json|"
    assert [" ".join(file.name for file in files) for files in found] == expected.split("|")


def test_words_with_half_of_a_character_are_refused(tmp_path):
    write_tagged(tmp_path / "test.txt", "PER")
    (tmp_path / "labels.json").write_text('{"PER": "per\\ud83dson"}')
    with pytest.raises(UserError, match="the words of 'PER' hold half of a character"):
        load_benchmark(f"mine={tmp_path}", "en")


def test_two_files_that_could_be_the_test_part_are_named(tmp_path):
    for name in ("east_test.txt", "west_test.txt"):
        write_tagged(tmp_path / name, "PER")
    with pytest.raises(UserError, match=r"each of east_test.txt, west_test.txt could be the test part: name one file"):
        load_benchmark(f"mine={tmp_path}", "en")


def test_a_test_part_without_labels_is_named_and_dev_is_asked(tmp_path, capsys):
    """As CLUENER's zip is unzipped."""
    row = {"text": "罗莎到了巴塞尔。", "label": {"address": {"巴塞尔": [[4, 6]]}}}
    (tmp_path / "dev.json").write_text(json.dumps(row))
    (tmp_path / "test.json").write_text('{"id": 0, "text": "今天下雨。"}\n{"id": 1, "text": "罗莎没来。"}\n')
    benchmark = load_benchmark(f"cluener={tmp_path}", "zh")
    assert benchmark.test[0].types == ["地址"] and benchmark.tested == "dev.json"
    assert "test.json has texts without labels; dev.json is asked instead" in said(capsys)
    with pytest.raises(UserError, match=r"test.json has texts without labels: name .*dev.json"):
        load_benchmark(f"cluener={tmp_path / 'test.json'}", "zh")
    (tmp_path / "train.json").write_text('{"text": "今天下雨。"}')
    assert load_benchmark(f"cluener={tmp_path}", "zh").train == [], "a train part without labels has no examples"
    (tmp_path / "dev.json").unlink()
    with pytest.raises(UserError, match="test.json has texts without labels: name a file that has them"):
        load_benchmark(f"cluener={tmp_path}", "zh")


def test_tags_that_are_numbers_are_named_by_label_json_beside_them(tmp_path):
    """As the datasets of tner have it."""
    (tmp_path / "test.json").write_text('{"tokens": ["bar", "in", "Bonn"], "tags": [0, 1, 2]}')
    (tmp_path / "label.json").write_text('{"B-Amenity": 0, "O": 1, "B-Location": 2}')
    assert load_benchmark(f"mit_restaurant={tmp_path}", "en", "uniner").test[0].types == ["Amenity", "Location"]
