"""Benchmarks: where each is found, its language, and the words its labels are asked by."""

import difflib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError
from ..passage import Passage
from ..paths import resource
from .sources import load_corpus

CATCH_ALL = "misc"  # never asked


@dataclass(frozen=True)
class BenchmarkSpec:
    """Where a benchmark is found, and how its labels are asked.

    Attributes:
        words: label in lower case -> the words it is asked by; None for open types, which are asked as written.
        test, train: files.
        hub_id, hub_config: a dataset of the Hub. Without files and dataset the user names the files.
    """

    language: str
    words: dict[str, str] | None = None
    test: Path | None = None
    train: Path | None = None
    hub_id: str | None = None
    hub_config: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A loaded benchmark.

    Attributes:
        train: passages for in-domain examples; may be empty.
        types: the label set that every passage is asked for, None for open types.
        labels: name of the label set, since its wording changes scores by points: `ra_ner` (the table below),
            `labels.json` (of the user's folder), or `open`.
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


# The benchmarks of the paper, with the labels of the published files.
BENCHMARKS = {
    "sample_en": BenchmarkSpec(
        "en", test=resource("data/sample/en_test.jsonl"), train=resource("data/sample/en.jsonl")
    ),
    "sample_zh": BenchmarkSpec(
        "zh", test=resource("data/sample/zh_test.jsonl"), train=resource("data/sample/zh.jsonl")
    ),
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


def load_benchmark(argument: str, language: str) -> Benchmark:
    """Load a benchmark.

    Args:
        argument: a name of the table; NAME=PATH for files that you have, where NAME may be new; or a path. A path is
            one test file, or a folder with a file `test` (else `dev`), perhaps `train` for in-domain examples, and
            perhaps `labels.json`, which maps labels to the words they are asked by. Files are in any form that
            `load_corpus` reads. Without labels.json and a known name, types are open: they are asked as written.

    Raises:
        UserError: there is no such benchmark, it is in another language, or a label has no words.

    Example:
        >>> load_benchmark("mine=my_test.conll", "en").types is None
        True
    """
    name, path = _parse(argument)
    spec = BENCHMARKS.get(name, BenchmarkSpec(language))
    if spec.language != language:
        raise UserError(f"benchmark {name} is in {spec.language}, the recipe's language is {language}")
    labels = "ra_ner" if spec.words else "open"
    if path:
        spec, labels = user_benchmark(path, spec, labels)
    test, train = _read(name, spec)
    if spec.words:
        test, train = ([_verbalise(passage, spec.words, name) for passage in part] for part in (test, train))
    types = [word for word in dict.fromkeys(spec.words.values()) if word != CATCH_ALL] if spec.words else None
    return Benchmark(name, test, train, types, labels)


def _parse(argument: str) -> tuple[str, Path | None]:
    """The name and the path of an argument; a path alone is its own name."""
    name, _, path = argument.partition("=")
    if path:
        return name, Path(path)
    if argument in BENCHMARKS:
        return argument, None
    if Path(argument).exists():
        return argument, Path(argument)
    raise _unknown(argument)


def user_benchmark(path: Path, spec: BenchmarkSpec, labels: str) -> tuple[BenchmarkSpec, str]:
    """The spec of a benchmark whose files the user has, and the name of its label set."""
    if path.is_file():
        return replace(spec, test=path, train=None), labels
    files = {file.stem: file for file in sorted(path.glob("*.*"))} if path.is_dir() else {}
    test = files.get("test") or files.get("dev")
    if test is None:
        raise _unknown(str(path))
    spec = replace(spec, test=test, train=files.get("train"))
    if file := files.get("labels"):
        return replace(spec, words=_read_words(file)), "labels.json"
    return spec, labels


def _read(name: str, spec: BenchmarkSpec) -> tuple[list[Passage], list[Passage]]:
    """The test and the train passages, from files or the Hub."""
    if spec.test:
        test = load_corpus(str(spec.test), spec.language).passages
        return test, load_corpus(str(spec.train), spec.language).passages if spec.train else []
    if not spec.hub_id:
        raise UserError(f"benchmark {name} is not on the Hub: get its files and write {name}=PATH")
    test, train = (
        load_corpus(spec.hub_id, spec.language, split=split, config=spec.hub_config).passages
        for split in ("test", "train")
    )
    return test, train


def _read_words(file: Path) -> dict[str, str]:
    try:
        words = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:  # neither JSON nor UTF-8
        words = None
    if not isinstance(words, dict) or not all(isinstance(word, str) and word.strip() for word in words.values()):
        raise UserError(f'{file}: it must map each label to the words it is asked by, such as {{"PER": "person"}}')
    return {label.lower(): word for label, word in words.items()}


def _unknown(name: str) -> UserError:
    near = difflib.get_close_matches(Path(name).name, BENCHMARKS, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    return UserError(
        f"unknown benchmark {name}{hint} Known are {', '.join(BENCHMARKS)}; files and folders with a file test or dev "
        f"(looked in {Path.cwd()} and beside the recipe)"
    )


def _verbalise(passage: Passage, words: dict[str, str], name: str) -> Passage:
    if missing := {type_ for type_ in passage.types if type_.lower() not in words}:
        raise UserError(
            f"benchmark {name}: label {sorted(missing)[0]!r} has no words; add it to labels.json beside the test file"
        )
    entities = tuple(replace(entity, type=words[entity.type.lower()]) for entity in passage.entities)
    return replace(passage, entities=entities)
