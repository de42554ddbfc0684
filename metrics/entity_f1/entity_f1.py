"""Entity-level F1 of open NER answers, as an `evaluate` metric."""

import datasets
import evaluate

from ra_ner.prompting.alignment import grounded
from ra_ner.prompting.answers import parse_answer
from ra_ner.tasks.scoring import score


class EntityF1(evaluate.Metric):
    """A prediction is a model's raw answer to one query; its reference says what was asked and what is gold."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        offset = datasets.Value("int64")
        gold = datasets.List({"text": text, "start": offset, "end": offset})
        reference = {"passage_id": text, "text": text, "type": text, "gold": gold}
        return evaluate.MetricInfo(
            description=__doc__,
            citation="",
            inputs_description=self.__doc__,
            features=datasets.Features({"predictions": text, "references": reference}),
        )

    def _compute(self, predictions: list[str], references: list[dict], seed: int = 42, samples: int = 1000) -> dict:
        rows, texts = [], {}
        for raw, reference in zip(predictions, references, strict=True):
            answer, text = parse_answer(raw), reference["text"]
            if texts.setdefault(reference["passage_id"], text) != text:
                raise ValueError(f"two texts have the passage_id {reference['passage_id']!r}: give each its own")
            read = {"raw_answer": raw, "predicted": answer.mentions, "parsed": answer.error is None}
            rows.append({**reference, **read, "grounded": grounded(answer.mentions, text)})
        return score(rows, texts, seed, samples).figures
