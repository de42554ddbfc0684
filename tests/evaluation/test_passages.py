"""The page of passages: gold entities beside predicted ones, by kind of error."""

from test_report import TEXT, evaluation
from test_review import data

from ra_ner.evaluation.passages import judge_passages, write_passages


def test_gold_beside_predicted_entities_by_kind_of_error(tmp_path):
    _, rows, texts = evaluation()
    write_passages("mine", judge_passages(rows, texts), tmp_path / "passages.html")
    base, tuned = data(tmp_path / "passages.html", "rows")

    def marks(row):
        assert all(TEXT[e["start"] : e["end"]] == e["text"] for e in row["entities"])
        return sorted((e["text"], e["type"], e["label"]) for e in row["entities"])

    assert tuned["id"] == "tuned one zero_shot p1, F1 85.7"
    assert marks(tuned) == [
        (m, "found", f"{t}: found") for m, t in (("Ada Lovelace", "person"), ("Basel", "city"), ("Bob", "person"))
    ]
    assert tuned["unaligned"] == [{"text": "Bern", "type": "city: hallucinated"}] and not tuned["unparsed"]
    assert base["unparsed"] == ["person"] and ("Bob", "wrong type", "city: wrong type") in marks(base)
    assert ("Basel", "missed (gold)", "city: missed (gold)") in marks(base)


def test_an_evaluation_writes_the_page(here):
    page = here / "outputs" / "quickstart" / "evaluation" / "passages.html"
    assert {row["text"] for row in data(page, "rows")} and "quickstart" in page.read_text(encoding="utf-8")
