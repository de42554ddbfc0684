"""The table of benchmarks: where each lives, its language and its label words."""

import difflib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError
from ..passage import Passage
from .sources import load_corpus

CATCH_ALL = "misc"  # never asked for


@dataclass(frozen=True)
class BenchmarkSpec:
    """Where a benchmark lives, and `words`, the words that each of its labels (in lower case) is asked for by.

    Without words its types are open and stand as they are. `test` and `train` are files; `hub_id` and `hub_config` name
    a dataset of the Hub; with neither the user gives the place.
    """

    language: str
    words: dict[str, str] | None = None
    test: Path | None = None
    train: Path | None = None
    hub_id: str | None = None
    hub_config: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """`types` is the closed label set that is asked of every passage, None for open types; `train` may be empty.

    `labels` names the label set, as its wording moves scores by points: `ra_ner` (the table below), `labels.json` (of
    the user's folder), or `open`.
    """

    name: str
    test: list[Passage]
    train: list[Passage]
    types: list[str] | None
    labels: str


def _crossner(config: str, **words: str) -> BenchmarkSpec:
    common = ("country", "event", "location", "organisation", "person", CATCH_ALL)
    words = {word: word for word in common} | words
    return BenchmarkSpec("en", words, hub_id="DFKI-SLT/cross_ner", hub_config=config)


def _same(*labels: str) -> dict[str, str]:
    return {label: label for label in labels}


# The benchmarks of the paper. Labels are those of the published files.
BENCHMARKS = {
    "sample_en": BenchmarkSpec("en", test=Path("data/sample/en_test.jsonl"), train=Path("data/sample/en.jsonl")),
    "sample_zh": BenchmarkSpec("zh", test=Path("data/sample/zh_test.jsonl"), train=Path("data/sample/zh.jsonl")),
    "crossner_ai": _crossner(
        "ai",
        **_same("algorithm", "conference", "field", "product", "researcher", "task", "university"),
        metrics="metric",
        programlang="programming language",
    ),
    "crossner_literature": _crossner(
        "literature", **_same("award", "book", "magazine", "poem", "writer"), literarygenre="literary genre"
    ),
    "crossner_music": _crossner(
        "music",
        **_same("album", "award", "band", "song"),
        musicalartist="musical artist",
        musicalinstrument="musical instrument",
        musicgenre="music genre",
    ),
    "crossner_politics": _crossner("politics", **_same("election", "politician"), politicalparty="political party"),
    "crossner_science": _crossner(
        "science",
        **_same("award", "discipline", "enzyme", "protein", "scientist", "theory", "university"),
        academicjournal="academic journal",
        astronomicalobject="astronomical object",
        chemicalcompound="chemical compound",
        chemicalelement="chemical element",
    ),
    "mit_movie": BenchmarkSpec(
        "en",
        _same("actor", "character", "director", "genre", "plot", "rating", "review", "song", "title", "trailer", "year")
        | {"ratings_average": "average rating"},
    ),
    "mit_restaurant": BenchmarkSpec(
        "en",
        _same("amenity", "cuisine", "dish", "hours", "location", "price", "rating")
        | {"restaurant_name": "restaurant name"},
    ),
    "ontonotes4": BenchmarkSpec("zh", {"gpe": "地缘政治实体", "loc": "地名", "org": "机构名", "per": "人名"}),
    "msra": BenchmarkSpec("zh", {"loc": "地名", "org": "机构名", "per": "人名"}),
    "weibo": BenchmarkSpec(
        "zh",
        {
            f"{label}.{kind}": f"{word}{suffix}"
            for label, word in {"gpe": "地缘政治实体", "loc": "地点", "org": "机构", "per": "人物"}.items()
            for kind, suffix in {"nam": "名称", "nom": "的泛指"}.items()
        },
    ),
    "boson": BenchmarkSpec(
        "zh",
        {
            "company_name": "公司名",
            "location": "地名",
            "org_name": "机构名",
            "person_name": "人名",
            "product_name": "产品名",
            "time": "时间",
        },
    ),
    "cluener": BenchmarkSpec(
        "zh",
        {
            "address": "地址",
            "book": "书名",
            "company": "公司",
            "game": "游戏",
            "government": "政府机构",
            "movie": "电影",
            "name": "人名",
            "organization": "组织机构",
            "position": "职位",
            "scene": "景点",
        },
    ),
    "cmeee": BenchmarkSpec(
        "zh",
        {
            "bod": "身体部位",
            "dep": "医院科室",
            "dis": "疾病",
            "dru": "药物",
            "equ": "医疗设备",
            "ite": "医学检验项目",
            "mic": "微生物",
            "pro": "医疗程序",
            "sym": "临床症状",
        },
    ),
    "renminribao": BenchmarkSpec("zh", {"loc": "地名", "org": "机构名", "per": "人名", "t": "时间"}),
    "yidu": BenchmarkSpec("zh", _same("疾病和诊断", "影像检查", "实验室检验", "手术", "药物", "解剖部位")),
}


def load_benchmark(name: str, language: str) -> Benchmark:
    """Load a benchmark: a name of the table, `name=PATH` for one that lies at PATH, or a path alone.

    PATH is a folder with a file called test (else dev), one called train for in-domain examples where there is one, and
    labels.json (label -> words) where the table's words are not wanted; or one file. Files are in any form that
    `load_corpus` reads. A path alone without labels.json has open types.

    Raises:
        UserError: there is no such benchmark, it is in another language, or a label has no words.
    """
    known, _, given = name.partition("=")
    if known not in BENCHMARKS and not given:
        known, given = "", name
    if known and known not in BENCHMARKS:
        raise _unknown(known)
    entry = BENCHMARKS[known] if known else BenchmarkSpec(language)
    if entry.language != language:
        raise UserError(f"benchmark {known} is in {entry.language}, the recipe's language is {language}")
    labels = "ra_ner" if entry.words else "open"
    if given:
        entry, labels = user_benchmark(Path(given), entry, labels)
    elif not entry.test and not entry.hub_id:
        raise UserError(f"benchmark {known} can't be fetched from the Hub: get its files and write {known}=PATH")
    if entry.test:
        test = load_corpus(str(entry.test), language).passages
        train = load_corpus(str(entry.train), language).passages if entry.train else []
    else:
        test, train = (
            load_corpus(entry.hub_id, language, split=split, config=entry.hub_config).passages
            for split in ("test", "train")
        )
    if entry.words:
        test, train = ([_verbalise(passage, entry.words, known or given) for passage in part] for part in (test, train))
    types = [word for word in dict.fromkeys(entry.words.values()) if word != CATCH_ALL] if entry.words else None
    return Benchmark(known or given, test, train, types, labels)


def user_benchmark(path: Path, entry: BenchmarkSpec, labels: str) -> tuple[BenchmarkSpec, str]:
    """The entry of a benchmark whose files the user has, and the name of its label set."""
    if path.is_file():
        return replace(entry, test=path, train=None), labels
    files = {file.stem: file for file in sorted(path.glob("*.*"))} if path.is_dir() else {}
    test = files.get("test") or files.get("dev")
    if test is None:
        raise _unknown(str(path))
    entry = replace(entry, test=test, train=files.get("train"))
    if file := files.get("labels"):
        return replace(entry, words=_read_words(file)), "labels.json"
    return entry, labels


def _read_words(file: Path) -> dict[str, str]:
    try:
        words = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # no JSON, or no UTF-8
        words = None
    if not isinstance(words, dict) or not all(isinstance(word, str) and word.strip() for word in words.values()):
        raise UserError(f'{file}: it has to map each label to the words it is asked for by, as in {{"PER": "person"}}')
    return {label.lower(): word for label, word in words.items()}


def _unknown(name: str) -> UserError:
    near = difflib.get_close_matches(Path(name).name, BENCHMARKS, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return UserError(
        f"unknown benchmark {name}{hint} Known: {', '.join(BENCHMARKS)}, files, and folders with a file test or dev"
    )


def _verbalise(passage: Passage, words: dict[str, str], name: str) -> Passage:
    if missing := {type_ for type_ in passage.types if type_.lower() not in words}:
        raise UserError(
            f"benchmark {name}: label {sorted(missing)[0]!r} has no words; add it to labels.json beside the test file"
        )
    entities = tuple(replace(entity, type=words[entity.type.lower()]) for entity in passage.entities)
    return replace(passage, entities=entities)
