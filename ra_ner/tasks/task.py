"""What a task is: how rows are read, what is asked, how answers are read, and how they are scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..corpora.formats import Reading
from ..passage import Passage
from ..prompting.conversation import Wording
from .scoring import RATES, Metric

DEFAULT = "ner"


@dataclass(frozen=True)
class Score:
    """A score of the task's metric, as reports show it.

    Attributes:
        label: what the score is called, such as `span F1`.
        note: what it counts, for studies and the Hub; scores without one are only in the report of an evaluation.
        rates: the columns of its figures; `f1` is the figure itself.
    """

    name: str
    label: str
    note: str = ""
    rates: tuple[str, ...] = RATES

    @property
    def title(self) -> str:
        return self.label[0].upper() + self.label[1:]

    @property
    def columns(self) -> dict[str, str]:
        """The header of each rate."""
        short = {"precision": f"{self.name} P", "recall": f"{self.name} R", "f1": self.label}
        return {rate: short[rate] for rate in self.rates}


@dataclass(frozen=True)
class Sample:
    """A text with a question and its answers, and an example of another text: what a model's card shows."""

    text: str
    type: str
    answers: list[str]
    example: Passage


@dataclass(frozen=True)
class Task:
    """All that the library knows of a task. What a task shares with others is nowhere asked by its name.

    The gold of a passage is a list of entities: `type` is what a question names, and `text` an item of its answer.

    Attributes:
        name: the value of `task` in a recipe.
        title, asks: what it is, and what is asked and answered, in cards; `tags` and `categories` are the Hub's.
        wordings: by name and language, the default first. Names are unique: a wording says which task a model does.
        reading: how rows become passages.
        read_answer: reads a raw answer, given the question's type, the text and the examples shown. Returns `parsed`,
            `predicted` (items of the answer), `parse_error`, `copied`, and whatever else the metric needs.
        metric: how answers are scored.
        scores: the scores that reports show, the main one first.
        kinds: columns of a study's table of errors, by outcome and whether the verdict is on gold.
        unit, note, errors_note: how scores are counted, what each is, and what the table of errors counts.
        samples: by language, for the cards of models.
        measured: what most scores are, in a sentence.
        counted: what the card of a dataset counts, its name and the values of a passage.
        splits_texts: a text that is too long may be split; otherwise it is dropped.
        baseline: answers a question from the examples alone, without a model; `(name, examples -> answer)`.
        tables: further tables on an entry of `results` in scores.json: title, header, rows.
        extracts: `ra_ner.Extractor` can use its models.
    """

    name: str
    title: str
    asks: str
    tags: Sequence[str]
    categories: Sequence[str]
    wordings: Mapping[tuple[str, str], Wording]
    reading: Reading
    read_answer: Callable[[str, str, str, Sequence[Passage]], dict[str, Any]]
    metric: Metric
    scores: Sequence[Score]
    kinds: Mapping[tuple[str, bool], str]
    note: str
    errors_note: str
    samples: Mapping[str, Sample]
    unit: str = "P, R and F1 in percent, micro-averaged over queries: one query for each passage and type."
    measured: str = "F1"
    counted: tuple[str, Callable[[Passage], Sequence[str]]] = ("types", lambda passage: passage.types)
    splits_texts: bool = False
    baseline: tuple[str, Callable[[Sequence[Passage]], str]] | None = None
    tables: Callable[[dict], Sequence[tuple[str, Sequence[str], Sequence]]] = lambda result: ()
    extracts: bool = False

    @property
    def facts(self) -> dict[str, str]:
        """What files say of the task. The default one is left out: files without it are older than tasks."""
        return {} if self.name == DEFAULT else {"task": self.name}
