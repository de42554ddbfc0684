"""Prepare the corpora of docs/beyond_ner.md as folders with a train and a test part.

    python tools/prepare_tasks.py trec TREC_TRAIN TREC_TEST     -> corpora/trec_coarse, corpora/trec_fine
    python tools/prepare_tasks.py crossre CROSSRE_DATA          -> corpora/crossre_politics, corpora/crossre_music

TREC_TRAIN and TREC_TEST are train_5500.label and TREC_10.label of Li and Roth (2002), or the same as JSON Lines with
`input` and `output`; CROSSRE_DATA is the folder crossre_data of https://github.com/mainlp/CrossRE.
"""

import json
import random
import sys
from pathlib import Path

TRAINED, SEED = 400, 42  # questions of TREC that are trained on, drawn by seed
WORDS = {  # of the coarse labels
    **{"ABBR": "abbreviation", "DESC": "description", "ENTY": "entity", "HUM": "human"},
    **{"LOC": "location", "NUM": "number"},
}


def questions(path: Path) -> list[tuple[str, str]]:
    """Texts and their labels, such as `ENTY:animal`."""
    text = path.read_bytes().decode("latin-1" if path.suffix == ".label" else "utf-8")
    lines = [line for line in text.split("\n") if line.strip()]
    if lines[0].startswith("{"):
        return [(row["input"], row["output"]) for row in map(json.loads, lines)]
    return [(question, label) for label, _, question in (line.strip().partition(" ") for line in lines)]


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def prepare_trec(train: Path, test: Path) -> None:
    drawn = random.Random(SEED).sample(list(dict.fromkeys(questions(train))), TRAINED)
    for level in ("coarse", "fine"):
        for part, rows in (("train", drawn), ("test", questions(test))):
            labels = [label.partition(":")[0] if level == "coarse" else label for _, label in rows]
            texts = [text for text, _ in rows]
            content = [
                {"id": f"trec-{part}-{number}", "text": text, "label": label}
                for number, (text, label) in enumerate(zip(texts, labels, strict=True))
            ]
            write(Path("corpora") / f"trec_{level}" / f"{part}.jsonl", content)
    (Path("corpora") / "trec_coarse" / "labels.json").write_text(json.dumps(WORDS, indent=1) + "\n", encoding="utf-8")


def prepare_crossre(folder: Path) -> None:
    for domain in ("politics", "music"):
        for part in ("train", "test"):
            lines = (folder / f"{domain}-{part}.jsonl").read_text(encoding="utf-8").strip().split("\n")
            write(Path("corpora") / f"crossre_{domain}" / f"{part}.jsonl", [json.loads(line) for line in lines])


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["trec", train, test]:
            prepare_trec(Path(train), Path(test))
        case ["crossre", folder]:
            prepare_crossre(Path(folder))
        case _:
            sys.exit(__doc__)
