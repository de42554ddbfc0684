"""What a task is: how rows are read, what is asked, how answers are read, and how they are scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..corpora.formats import Reading
from ..passage import Entity, Passage
from ..prompting.conversation import Wording
from .scoring import Metric, Score

DEFAULT = "ner"


@dataclass(frozen=True)
class Task:
    """All that the library knows of a task; nothing else asks which task it is.

    The gold of a passage is a list of entities: `type` is what a question names, and `text` an item of its answer.

    Attributes:
        name: the value of `task` in a recipe.
        title, asks: what it is, and what is asked and answered, for cards; `tags` and `category` are the Hub's.
        wordings: by name and language, the default first, which has the task's name. A wording belongs to one task.
        reading: how rows become passages.
        read_answer: reads a raw answer, given the question's type, the text and the examples shown. Returns `parsed`,
            `predicted` (items of the answer), `parse_error`, `copied`, and what else the metric needs.
        metric: how answers are scored.
        note, errors_note: what the tables of results and of errors count.
        samples: by language, for the cards of models: a text, a type and an answer; and the same as an example.
        unit: how scores are counted.
        counted: what the card of a dataset counts: in words, and of an entity.
        splits_texts: a text that is too long may be split; otherwise it is dropped.
        baseline: a name, and how it answers from the examples shown alone; reports show it beside the models.
        tables: further tables on an entry of `results` in scores.json: title, header, rows.
        extracts: `Extractor` can use its models.
    """

    name: str
    title: str
    asks: str
    tags: Sequence[str]
    category: str
    wordings: Mapping[tuple[str, str], Wording]
    reading: Reading
    read_answer: Callable[[str, str, str, Sequence[Passage]], dict[str, Any]]
    metric: Metric
    note: str
    errors_note: str
    samples: Mapping[str, Sequence[tuple[str, str, str]]]
    unit: str = "P, R and F1 in percent, micro-averaged over queries: one query for each passage and type."
    counted: tuple[str, Callable[[Entity], str]] = ("types", lambda entity: entity.type)
    splits_texts: bool = False
    baseline: tuple[str, Callable[[Sequence[Passage]], str]] | None = None
    tables: Callable[[dict], Sequence[tuple[str, Sequence[str], Sequence]]] = lambda result: ()
    extracts: bool = False

    @property
    def main(self) -> Score:
        return self.metric.scores[0]

    @property
    def measured(self) -> str:
        """The main score in a sentence: `F1`, or its whole name."""
        return self.main.label.rpartition(" ")[2]

    @property
    def facts(self) -> dict[str, str]:
        """What files say of the task. The default one is left out: files without it are older than tasks."""
        return {} if self.name == DEFAULT else {"task": self.name}

    def sample(self, language: str) -> list[Passage]:
        """A text to ask about, and an example to show with it."""
        samples = self.samples.get(language) or self.samples["en"]
        return [Passage("", text, (Entity(answer, type_),)) for text, type_, answer in samples]
