"""Files in the shape of released ones, made from texts of our own: golden tests run on both, if the others are here."""

import json
from pathlib import Path

from conftest import REPO

# A mention and its label in brackets. UniversalNER asks for the types below; it does not ask for misc.
MUSIC = [
    "[Ada Quill|musicalartist] sang [Slow River|song] with [The Lamp Posts|band] in [Basel|location] .",
    "[The Lamp Posts|band] won the [Golden Reed|award] for [Nine Doors|album] , an album of [folk jazz|musicgenre] .",
    "The [hurdy-gurdy|musicalinstrument] of [Bo Farn|musicalartist] is on [Slow River|song] and [Tin Moon|song] .",
    "[Northern Voices|event] was in [Norway|country] , led by [Eva Holt|person] of [Reed Records|organisation] .",
    "No label wanted [Nine Doors|album] at first , and the [Blue Book|misc] says why .",
    "[folk jazz|musicgenre] came to [Norway|country] in the year of [Northern Voices|event] .",
    "Nobody sang .",
]
ASKED = {
    "album": "album",
    "award": "award",
    "band": "band",
    "country": "country",
    "event": "event",
    "location": "location",
    "musicalartist": "musical artist",
    "musicalinstrument": "musical instrument",
    "musicgenre": "music genre",
    "organisation": "organization",
    "person": "person",
    "song": "song",
}


def make_golden(folder: Path) -> None:
    """Write the files, under the names of the released ones."""
    (folder / "golden").mkdir(parents=True)
    _write_music(folder / "data" / "en" / "crossner_music", folder / "golden" / "crossner_music_uniner.json")
    _write_chinese(folder / "golden")


def _write_music(benchmark: Path, questions: Path) -> None:
    benchmark.mkdir(parents=True)
    rows, conversations = [], []
    for number, marked in enumerate(MUSIC):
        text, entities = "", []
        for piece in marked.replace("[", "]").split("]"):
            mention, bar, label = piece.partition("|")
            if bar:
                end = len(text) + len(mention)
                entities.append({"text": mention, "type": label, "start": len(text), "end": end})
            text += mention
        rows.append({"id": f"crossner_music-test-{number}", "text": text, "entities": entities})
        for label, word in ASKED.items():
            mentions = list(dict.fromkeys(entity["text"] for entity in entities if entity["type"] == label))
            question = f"What describes {word} in the text?"
            turns = [f"Text: {text}", "I've read this text.", question, json.dumps(mentions)]
            conversations.append(_conversation(f"CrossNER_music_{len(conversations)}", turns))
    for part in ("train", "dev", "test"):
        lines = [json.dumps({**row, "id": row["id"].replace("test", part)}) + "\n" for row in rows]
        (benchmark / f"{part}.jsonl").write_text("".join(lines))
    (benchmark / "labels.json").write_text(json.dumps(ASKED | {"misc": "miscellaneous"}))
    questions.write_text(json.dumps(conversations))


def _write_chinese(folder: Path) -> None:
    conversations, annotations = [], []
    lines = (REPO / "data" / "sample" / "zh.jsonl").read_text(encoding="utf-8").splitlines()[:10]
    for number, row in enumerate(map(json.loads, lines)):
        pairs = list(dict.fromkeys((entity["text"], entity["type"]) for entity in row["entities"]))
        if number == 9:
            pairs = []
        mentions = {type_: [mention for mention, of_type in pairs if of_type == type_] for _, type_ in pairs}
        turns = [f"文本： {row['text']}", "我已读完这段文本。"]
        for type_, its_mentions in [*mentions.items(), *([("虚构类型", [])] if pairs else [])]:
            quoted = ", ".join(f'"{mention}"' for mention in its_mentions)
            turns += [f'文本中属于"{type_}"的实体有哪些？', f"[{quoted}]"]
        conversations.append(_conversation(f"ner_zh_{number}", turns))
        prediction = [{mention: type_} for mention, type_ in pairs]
        annotations.append({"id": f"ner_zh_{number}", "text": row["text"], "response": "", "prediction": prediction})
    released = json.dumps(conversations, ensure_ascii=False)
    (folder / "sky_ner_conversations_released.json").write_text(released, encoding="utf-8")
    lines = [json.dumps(annotation, ensure_ascii=False) + "\n" for annotation in annotations]
    (folder / "sky_ner_annotations_released.jsonl").write_text("".join(lines), encoding="utf-8")


def _conversation(id_: str, turns: list[str]) -> dict:
    speakers = ("human", "gpt")
    return {"id": id_, "conversations": [{"from": speakers[i % 2], "value": turn} for i, turn in enumerate(turns)]}
