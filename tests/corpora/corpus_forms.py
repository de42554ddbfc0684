"""A small corpus in each form: what its file holds, and what must be read from it.

`test_formats.py` reads them, `test_mutated_corpora.py` breaks them.
"""

import json
from dataclasses import dataclass

from datasets import ClassLabel, Features, List, Value

from ra_ner.passage import Passage

Found = list[list[tuple]]  # of each passage, its entities: mention, type, start, end


@dataclass(frozen=True)
class Sample:
    """A file of one form.

    Attributes:
        form: as in the documentation.
        files: name -> content; the first is the one that is read.
        texts, entities: what must be read.
    """

    form: str
    files: dict[str, str]
    texts: list[str]
    entities: Found
    language: str = "en"


def lines(*rows: object) -> str:
    return "\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n"


def entities(passage: Passage) -> list[tuple]:
    return [(e.text, e.type, e.start, e.end) for e in passage.entities]


def chat(*turns: str, **more) -> dict:
    return {"conversations": [{"from": ("human", "gpt")[i % 2], "value": turn} for i, turn in enumerate(turns)], **more}


OWN = {"id": "1", "text": "Ada met Ada.", "entities": [{"text": "Ada", "type": "person", "start": 0, "end": 3}]}
CLASS_LABELS = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-PER", "I-PER"]))})
CLASS_ROWS = {"tokens": [["Ada", "Lovelace", "wrote"], ["Yes"]], "ner_tags": [[1, 2, 0], [0]]}

OSLO = "Ada left Oslo in May."
ADA, CITY = ("Ada", "person", 0, 3), ("Oslo", "city", 9, 13)
TOKENS = ["Ada", "left", "Oslo", "in", "May", "."]
JOINED = "Ada left Oslo in May ."
LIN = "林娜住在上海。"
LIN_ENTITIES = [("林娜", "name", 0, 2), ("上海", "address", 4, 6)]
ASK = ["Text: " + OSLO, "I've read this text.", "What describes city in the text?", '["Oslo"]']


def turns(who: tuple[str, str], key: str, said: list[str]) -> list[dict]:
    names = {"from": who, "role": who}
    return [{key: names[key][i % 2], {"from": "value", "role": "content"}[key]: one} for i, one in enumerate(said)]


LABEL_STUDIO = {
    "id": 7,
    "data": {"text": OSLO},
    "annotations": [
        {"was_cancelled": True, "result": []},
        {
            "result": [
                {"type": "labels", "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["person"]}},
                {"type": "labels", "value": {"start": 9, "end": 13, "text": "Oslo", "labels": ["city"]}},
                {"type": "relation", "from_id": "a", "to_id": "b"},
            ]
        },
    ],
}

SAMPLES = [
    Sample(
        "{id, text, entities}",
        {
            "own.jsonl": lines(
                {
                    "id": 1,
                    "text": OSLO,
                    "entities": [
                        {"text": "Ada", "type": "person", "start": 0, "end": 3},
                        {"text": "Oslo", "type": "city", "start": 9, "end": 13, "score": 0.5},
                    ],
                },
                {
                    "id": 2,
                    "text": OSLO,
                    "entities": [{"text": "Norway", "type": "country", "start": None, "end": None}],
                },
            )
        },
        [OSLO, OSLO],
        [[ADA, CITY], [("Norway", "country", None, None)]],
    ),
    Sample(
        "CoNLL text",
        {
            "train.conll": "Ada NNP B-person\nleft VBD O\nOslo NNP B-city\nin IN O\nMay NNP O\n. . O\n\n"
            "Bo NNP B-person\n"
        },
        [JOINED, "Bo"],
        [[ADA, CITY], [("Bo", "person", 0, 2)]],
    ),
    Sample(
        "Boson",
        {"boson.txt": "{{person_name:林娜}}住在{{location:上海}}。\n没有。\n{{time:昨天}}\n"},
        [LIN, "没有。", "昨天"],
        [[("林娜", "person_name", 0, 2), ("上海", "location", 4, 6)], [], [("昨天", "time", 0, 2)]],
        "zh",
    ),
    Sample(
        "CHIP 2020",
        {"train.txt": "有头痛。|||1    2    sym|||\n没有。|||\n"},
        ["有头痛。", "没有。"],
        [[("头痛", "sym", 1, 3)], []],
        "zh",
    ),
    Sample(
        "MSRA words with tags",
        {"msra.txt": "林娜/nr 住在/o 上海/ns 。/o\n没有/o 。/o\n"},
        [LIN, "没有。"],
        [[("林娜", "nr", 0, 2), ("上海", "ns", 4, 6)], []],
        "zh",
    ),
    Sample(
        "RA-IT {sentence, label}",
        {"test.jsonl": lines({"id": 1, "sentence": LIN, "label": {"林娜": "name", "上海": "address"}})},
        [LIN],
        [LIN_ENTITIES],
        "zh",
    ),
    Sample(
        "brat",
        {"note.ann": "T1\tperson 0 3\tAda\nT2\tcity 9 13\tOslo\nR1\tleft Arg1:T1 Arg2:T2\n", "note.txt": OSLO},
        [OSLO],
        [[ADA, CITY]],
    ),
    Sample(
        "PubTator",
        {
            "papers.txt": "12|t|Iron and gout\n12|a|Gout needs care.\n12\t0\t4\tIron\tChemical\tC1\n"
            "12\t9\t13\tgout\tDisease\tD1\n12\t14\t18\tGout\tDisease\tD1\n12\tCID\tC1\tD1\n"
        },
        ["Iron and gout Gout needs care."],
        [[("Iron", "Chemical", 0, 4), ("gout", "Disease", 9, 13), ("Gout", "Disease", 14, 18)]],
    ),
    Sample(
        "ShareGPT or messages",
        {
            "chat.jsonl": lines(
                {"conversations": turns(("human", "gpt"), "from", ASK)},
                {"messages": turns(("user", "assistant"), "role", ASK)},
                {
                    "messages": turns(
                        ("user", "assistant"),
                        "role",
                        ["Name the entities.\nText: " + OSLO, '{"person": ["Ada"], "city": ["Oslo"]}'],
                    )
                },
            )
        },
        [OSLO] * 3,
        [[CITY], [CITY], [ADA, CITY]],
    ),
    Sample(
        "alpaca",
        {
            "alpaca.json": json.dumps(
                [
                    {"instruction": "List every city in the text as JSON.", "input": OSLO, "output": '["Oslo"]'},
                    {
                        "instruction": "Find the entities.",
                        "input": OSLO,
                        "output": '[{"entity": "Ada", "type": "person"}]',
                    },
                    {"instruction": "What describes month in the text?\nText: " + OSLO, "input": "", "output": "[]"},
                    {
                        "task": "NER",
                        "source": "x",
                        "instruction": json.dumps(
                            {"instruction": "Extract the entities.", "schema": ["person", "city"], "input": OSLO}
                        ),
                        "output": '{"person": ["Ada"], "city": []}',
                    },
                ]
            )
        },
        [OSLO] * 4,
        [[CITY], [ADA], [], [ADA]],
    ),
    Sample(
        "GLiNER, SpERT or W2NER",
        {
            "spans.jsonl": lines(
                {"tokenized_text": TOKENS, "ner": [[0, 0, "person"], [2, 2, "city"]]},
                {"tokens": TOKENS, "entities": [{"type": "city", "start": 2, "end": 3}], "relations": []},
                {"sentence": TOKENS, "ner": [{"index": [0], "type": "person"}, {"index": [2], "type": "city"}]},
            )
        },
        [JOINED] * 3,
        [[ADA, CITY], [CITY], [ADA, CITY]],
    ),
    Sample(
        "{tokens, ner_tags}",
        {
            "rows.jsonl": lines(
                {"tokens": TOKENS, "ner_tags": ["B-person", "O", "B-city", "O", "O", "O"]},
                {"task": "NER", "instance": {"words": ["Bo"], "labels": ["B-person"]}},
            )
        },
        [JOINED, "Bo"],
        [[ADA, CITY], [("Bo", "person", 0, 2)]],
    ),
    Sample(
        "spaCy tuples",
        {
            "train.json": json.dumps(
                {"classes": ["x"], "annotations": [[OSLO, {"entities": [[0, 3, "person"], [9, 13, "city"]]}], None]}
            )
        },
        [OSLO],
        [[ADA, CITY]],
    ),
    Sample("Label Studio", {"export.json": json.dumps([LABEL_STUDIO])}, [OSLO], [[ADA, CITY]]),
    Sample(
        "CLUENER",
        {"dev.json": lines({"text": LIN, "label": {"name": {"林娜": [[0, 1]]}, "address": {"上海": [[4, 5]]}}})},
        [LIN],
        [LIN_ENTITIES],
        "zh",
    ),
    Sample(
        "MRC {context, label}",
        {
            "mrc.json": json.dumps(
                [
                    {"context": JOINED, "label": {"person": ["0;0"], "city": ["2;2"]}},
                    {"context": JOINED, "entity_label": "city", "span_position": ["2;2"], "query": "cities"},
                ]
            )
        },
        [JOINED] * 2,
        [[ADA, CITY], [CITY]],
    ),
    Sample(
        "UIE",
        {
            "uie.txt": lines(
                {"content": LIN, "result_list": [{"text": "林娜", "start": 0, "end": 2}], "prompt": "name"},
                {"content": LIN, "result_list": [{"text": "上海", "start": 4, "end": 6}], "prompt": "address"},
                {"content": LIN, "result_list": [], "prompt": "film"},
            )
        },
        [LIN] * 3,
        [LIN_ENTITIES[:1], LIN_ENTITIES[1:], []],
        "zh",
    ),
    Sample(
        "Prodigy",
        {
            "prodigy.jsonl": lines(
                {
                    "text": OSLO,
                    "tokens": [{"text": "Ada", "start": 0, "end": 3, "id": 0}],
                    "spans": [{"start": 0, "end": 3, "label": "person"}, {"start": 9, "end": 13, "label": "city"}],
                    "answer": "accept",
                },
                {"text": OSLO, "spans": [{"start": 0, "end": 8, "label": "city"}], "answer": "reject"},
                {"text": "Nothing.", "answer": "accept"},
            )
        },
        [OSLO, "Nothing."],
        [[ADA, CITY], []],
    ),
    Sample(
        "CMeEE",
        {
            "train.json": json.dumps(
                [{"text": "有头痛。", "entities": [{"start_idx": 1, "end_idx": 2, "type": "sym", "entity": "头痛"}]}]
            )
        },
        ["有头痛。"],
        [[("头痛", "sym", 1, 3)]],
        "zh",
    ),
    Sample(
        "Yidu",
        {
            "train.txt": lines(
                {"originalText": "有头痛。", "entities": [{"start_pos": 1, "end_pos": 3, "label_type": "症状"}]}
            )
        },
        ["有头痛。"],
        [[("头痛", "症状", 1, 3)]],
        "zh",
    ),
    Sample(
        "InstructUIE or B2NERD",
        {
            "train.json": json.dumps(
                [
                    {
                        "sentence": OSLO,
                        "entities": [
                            {"name": "Ada", "type": "person", "pos": [0, 3]},
                            {"name": "Oslo", "type": "city", "pos": [-1, -1]},
                        ],
                    }
                ]
            )
        },
        [OSLO],
        [[ADA, CITY]],
    ),
    Sample(
        "{text, entity_list}",
        {
            "train.jsonl": lines(
                {
                    "text": LIN,
                    "entity_list": [
                        {"entity": "林娜", "entity_type": "name", "entity_index": {"begin": 0, "end": 2}},
                        {"entity": "上海", "entity_type": "address"},
                    ],
                }
            )
        },
        [LIN],
        [LIN_ENTITIES],
        "zh",
    ),
    Sample(
        "doccano",
        {
            "admin.jsonl": lines(
                {"id": 3, "text": OSLO, "label": [[0, 3, "person"], [9, 13, "city"]]},
                {
                    "id": 4,
                    "text": OSLO,
                    "entities": [{"id": 1, "label": "city", "start_offset": 9, "end_offset": 13}],
                    "relations": [],
                },
            )
        },
        [OSLO] * 2,
        [[ADA, CITY], [CITY]],
    ),
    Sample(  # of ai4privacy and Presidio
        "doccano",
        {
            "others.jsonl": lines(
                {"source_text": OSLO, "privacy_mask": [{"value": "Oslo", "start": 9, "end": 13, "label": "city"}]},
                {
                    "full_text": OSLO,
                    "spans": [{"entity_type": "city", "entity_value": "Oslo", "start_position": 9, "end_position": 13}],
                },
            )
        },
        [OSLO] * 2,
        [[CITY]] * 2,
    ),
]
