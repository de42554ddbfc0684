"""The benchmarks of the paper: where each is found, its files, and the words its labels are asked by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..paths import resource
from .label_words import label_key

CATCH_ALL = "misc"  # never asked

Words = dict[str, str]  # label -> the words it is asked by


@dataclass(frozen=True)
class BenchmarkSpec:
    """Where a benchmark is found, and how its labels are asked.

    Attributes:
        words: label in lower case -> this library's words; None for open types, which are asked as written.
        published: other sets of words, by name: `uniner` (UniversalNER's question files), `release` (of RA-IT).
        aliases: other spellings of labels in published files.
        unused: labels that no passage of the published files has.
        test, train: files that ship with this library.
        hub_id, hub_config: a dataset of the Hub. Without files and dataset the user names the files.
        names: how the names of its files begin, where a folder may hold files of other benchmarks; the first one wins.
        source, license, files, checked: for the reader.
    """

    language: str
    words: Words | None = None
    published: Mapping[str, Words] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    test: Path | None = None
    train: Path | None = None
    hub_id: str | None = None
    hub_config: str | None = None
    names: tuple[str, ...] = ()
    source: str = ""
    license: str = ""
    files: str = ""
    checked: str = ""

    def label_sets(self) -> list[str]:
        """The names of the label sets that it can be asked in."""
        return [*(["ra_ner"] if self.words else []), *self.published, "file"]

    def words_of(self, label_set: str) -> Words:
        """The words of a label set, by key of each spelling that published files and label sets have for a label."""
        words = self.words if label_set == "ra_ner" else self.published[label_set]
        spellings = {label: label for label in self.words} | dict(self.aliases)
        for published in (self.words, *self.published.values()):
            spellings |= {word: label for label, word in published.items()}
        by_key = {label_key(spelling): words[label] for spelling, label in spellings.items() if label in words}
        return by_key | {CATCH_ALL: CATCH_ALL}


def _same(*labels: str) -> Words:
    return {label: label for label in labels}


_UNINER = "questions of UniversalNER: github.com/universal-ner/universal-ner, src/eval/test_data"
_RELEASE = "questions of RA-IT: github.com/Emma1066/Retrieval-Augmented-IT-OpenNER, data/benchmark_it_data"


def _asked_by_uniner(words: Words, *without: str, **other: str) -> dict[str, Words]:
    asked = {label: word for label, word in words.items() if label not in (CATCH_ALL, *without)}
    return {"uniner": asked | {label: word for label, word in other.items() if label in asked}}


def _crossner(config: str, checked: tuple[str, str], words: Words, *unused: str) -> BenchmarkSpec:
    words = _same("country", "event", "location", "organisation", "person", CATCH_ALL) | words
    other = {"organisation": "organization", "metrics": "metrics", "programlang": "program language"}
    return BenchmarkSpec(
        "en",
        words,
        _asked_by_uniner(words, *unused, **other),
        unused=unused,
        hub_id="DFKI-SLT/cross_ner",
        hub_config=config,
        source=f"the Hub; or github.com/zliucr/CrossNER, ner_data/{config}; or the {_UNINER}",
        license="MIT; the texts are from Wikipedia",
        files="test.txt, dev.txt, train.txt: a token and its BIO tag on each line",
        checked=f"test.txt: {checked[0]}, all as seqeval reads them; UniversalNER's {checked[1]} questions, one by one",
    )


def _mit(words: Words, name: str, prefix: str, checked: str, **other: str) -> BenchmarkSpec:
    return BenchmarkSpec(
        "en",
        words,
        _asked_by_uniner(words, **other),
        names=(prefix,),
        source=f"groups.csail.mit.edu/sls/downloads/{name}; or the {_UNINER}",
        license="none stated; a free download for research",
        files=f"{prefix}test.bio, {prefix}train.bio: a BIO tag and its token on each line; or JSON Lines of "
        "tokens and tags",
        checked=checked,
    )


def _built_in(language: str) -> BenchmarkSpec:
    test, train = (resource(f"data/sample/{language}{part}.jsonl") for part in ("_test", ""))
    return BenchmarkSpec(
        language,
        test=test,
        train=train,
        source="built in",
        license="CC0 1.0",
        files=f"{test.name}, {train.name}",
        checked="the test suite checks all offsets",
    )


# With the labels of the published files.
BENCHMARKS = {
    "sample_en": _built_in("en"),
    "sample_zh": _built_in("zh"),
    "crossner_ai": _crossner(
        "ai",
        ("431 passages, 1,809 entities", "5,603"),
        _same("algorithm", "conference", "field", "product", "researcher", "task", "university")
        | {"metrics": "metric", "programlang": "programming language"},
        "event",
    ),
    "crossner_literature": _crossner(
        "literature",
        ("416 passages, 2,266 entities", "4,576"),
        _same("award", "book", "magazine", "poem", "writer") | {"literarygenre": "literary genre"},
    ),
    "crossner_music": _crossner(
        "music",
        ("465 passages, 3,336 entities", "5,580"),
        _same("album", "award", "band", "song")
        | {
            "musicalartist": "musical artist",
            "musicalinstrument": "musical instrument",
            "musicgenre": "music genre",
        },
    ),
    "crossner_politics": _crossner(
        "politics",
        ("651 passages, 4,209 entities", "5,200"),
        _same("election", "politician") | {"politicalparty": "political party"},
    ),
    "crossner_science": _crossner(
        "science",
        ("543 passages, 3,089 entities", "8,688"),
        _same("award", "discipline", "enzyme", "protein", "scientist", "theory", "university")
        | {
            "academicjournal": "academic journal",
            "astronomicalobject": "astronomical object",
            "chemicalcompound": "chemical compound",
            "chemicalelement": "chemical element",
        },
    ),
    "mit_movie": _mit(
        _same("actor", "character", "director", "genre", "plot", "rating", "review", "song", "title", "trailer", "year")
        | {"ratings_average": "average rating"},
        "moviecorpus",
        "eng",
        "engtest.bio: 2,443 passages, 5,339 entities, all as seqeval reads them; not the file of questions",
        ratings_average="average ratings",
    ),
    "mit_restaurant": _mit(
        _same("amenity", "cuisine", "dish", "hours", "location", "price", "rating")
        | {"restaurant_name": "restaurant name"},
        "restaurantcorpus",
        "restaurant",
        "restauranttest.bio: 1,521 passages, 3,151 entities, all as seqeval reads them; UniversalNER's "
        "12,160 questions, one by one",
        **{label: label.title() for label in ("amenity", "cuisine", "dish", "hours", "location", "price", "rating")},
        restaurant_name="Restaurant Name",
    ),
    "ontonotes4": BenchmarkSpec(
        "zh",
        {"gpe": "地缘政治实体", "loc": "地名", "org": "机构名", "per": "人名"},
        aliases={"person": "per"},
        source="the LDC: LDC2011T03, split as in github.com/jiesutd/LatticeLSTM",
        license="LDC user agreement",
        files="test.char.bmes, dev.char.bmes, train.char.bmes: a character and its BMES tag on each line",
        checked="not on these files: on ResumeNER, which has the same form",
    ),
    "msra": BenchmarkSpec(
        "zh",
        {"loc": "地名", "org": "机构名", "per": "人名"},
        aliases={"ns": "loc", "nt": "org", "nr": "per"},
        names=("msra_", "testright", "train"),
        source="github.com/OYE93/Chinese-NLP-Corpus, NER/MSRA; or github.com/InsaneLife/ChineseNLPCorpus, NER/MSRA",
        license="none stated; SIGHAN 2006, for research",
        files="msra_test_bio.txt, msra_train_bio.txt: a character and its BIO or BMES tag on each line; or "
        "testright1.txt, train1.txt: words/ns",
        checked="msra_test_bio.txt: 3,442 passages, 6,190 entities, all as seqeval reads them; testright1.txt: "
        "4,365 and 6,181, with the texts of test1.txt",
    ),
    "weibo": BenchmarkSpec(
        "zh",
        {
            f"{label}.{kind}": f"{word}{suffix}"
            for label, word in {"gpe": "地缘政治实体", "loc": "地点", "org": "机构", "per": "人物"}.items()
            for kind, suffix in {"nam": "名称", "nom": "的泛指"}.items()
        },
        names=("weiboNER_2nd_conll", "weiboNER.conll"),
        source="github.com/hltcoe/golden-horse, data",
        license="CC BY-SA 3.0; the texts under the terms of Weibo",
        files="weiboNER_2nd_conll.test, .dev, .train (2nd edition; weiboNER.conll.* is the 1st): a character, with its "
        "place in its word, and its BIO tag on each line",
        checked="2nd edition, test: 270 passages, 418 entities; 1st: 270 and 320; all as seqeval reads them",
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
        {
            "release": {
                "product_name": "产品名称",
                "time": "时间",
                "person_name": "人名",
                "org_name": "组织名称",
                "location": "地点名称",
                "company_name": "公司名称",
            }
        },
        source="github.com/Emma1066/Retrieval-Augmented-IT-OpenNER, data/benchmark_data/boson (split as in the paper), "
        f"and the {_RELEASE}; all passages: github.com/InsaneLife/ChineseNLPCorpus, NER/boson",
        license="BosonNLP's own: free for research, not to be passed on",
        files="test.jsonl, dev.jsonl, train.jsonl: {id, sentence, label: {mention: type}}; test.json: questions; "
        "origindata.txt: {{type:mention}} in the text",
        checked="test.jsonl: 179 passages, 2,305 entities; the 1,074 released prompts of each of seven "
        "settings, but for one passage in two of them; origindata.txt: 2,000 and 23,173",
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
        source="github.com/CLUEbenchmark/CLUENER2020: cluener_public.zip",
        license="none stated",
        files="dev.json, train.json: {text, label: {type: {mention: [[start, end]]}}}; test.json has no labels",
        checked="dev.json: 1,343 passages, 3,072 entities, all equal to a second reader's",
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
        names=("CMeEE",),
        source="CBLUE: tianchi.aliyun.com/dataset/95414 (after registration)",
        license="terms of CBLUE, for research",
        files="CMeEE_dev.json, CMeEE_train.json: {text, entities with start_idx}; CMeEE_test.json has no labels; or "
        "CHIP 2020: val_data.txt, train_data.txt: text|||start    end    type|||",
        checked="CMeEE_dev.json and val_data.txt: 5,000 passages, 20,300 entities each, all equal to a second reader's",
    ),
    "renminribao": BenchmarkSpec(
        "zh",
        {"loc": "地名", "org": "机构名", "per": "人名", "t": "时间"},
        aliases={"ns": "loc", "nt": "org", "nr": "per", "date": "t", "time": "t"},
        source="github.com/OYE93/Chinese-NLP-Corpus, NER/People's Daily",
        license="none stated",
        files="example.test, example.dev, example.train: a character and its BIO tag on each line; or words/ns",
        checked="example.test: 4,636 passages, 7,707 entities, all as seqeval reads them",
    ),
    "yidu": BenchmarkSpec(
        "zh",
        _same("疾病和诊断", "影像检查", "实验室检验", "手术", "药物", "解剖部位"),
        names=("subtask1",),
        source="openkg.cn: Yidu-S4K; or github.com/GuocaiL/nlp_corpus, open_ner_data/yidu-s4k",
        license="terms of Yidu-S4K at openkg.cn",
        files="subtask1_test_set_with_answer.json, subtask1_training_part1.txt, subtask1_training_part2.txt: "
        "{originalText, entities}",
        checked="test set: 379 passages, 6,002 entities; both train files: 1,000 and 17,653; all equal to a "
        "second reader's",
    ),
}
