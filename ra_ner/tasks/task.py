"""What a task is: how rows are read, what is asked, how answers are read, and how they are scored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..corpora.formats import Reading
from ..passage import Entity, Passage
from ..prompting.answers import Answer, Span, occurrences
from ..prompting.conversation import Wording
from ..recipe import Recipe
from .scoring import Metric, Score


@dataclass(frozen=True)
class Task:
    """All that the library knows of a task; nothing else asks which task it is.

    The gold of a passage is a list of entities: `type` is what a question names, and `text` an item of its answer.

    Attributes:
        name: the value of `task` in a recipe.
        title, asks: what it is, and what is asked and answered, for cards; `tags` and `category` are the Hub's.
        wordings: by name and language, the default first, which has the task's name. A wording belongs to one task.
        reading: how rows become passages.
        read_answer: reads a raw answer, given the question's type.
        metric: how answers are scored.
        samples: by language, for the cards of models: a text, a type and an answer; and the same as an example.
        find: where an item of an answer stands in a text. One that stands in an example alone was copied.
        note: what the scores count; by default the notes of the scores.
        errors_note: what the table of errors counts.
        counted: what the card of a dataset counts: in words, and as a field of entities.
        splits_texts: a text that is too long may be split; otherwise it is dropped.
        baseline: a name, and how it answers from the examples shown alone; reports show it beside the models.
        extracts: `Extractor` can use its models.
        script: of a task that is not built in: its file, which has all commands; a study runs its cells by it.
    """

    name: str
    title: str
    asks: str
    tags: Sequence[str]
    wordings: Mapping[tuple[str, str], Wording]
    reading: Reading
    read_answer: Callable[[str, str], Answer]
    metric: Metric
    samples: Mapping[str, Sequence[tuple[str, str, str]]]
    category: str = "token-classification"
    find: Callable[[str, str], Sequence[Span]] = occurrences
    note: str = ""
    errors_note: str = "Two numbers are wrong answers / gold answers that were not found."
    counted: tuple[str, str] = ("types", "type")
    splits_texts: bool = False
    baseline: tuple[str, Callable[[Sequence[Passage]], str]] | None = None
    extracts: bool = False
    script: str | None = None

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
        return {} if self.name == Recipe.task else {"task": self.name}

    def sample(self, language: str) -> list[Passage]:
        """A text to ask about, and an example to show with it."""
        samples = self.samples.get(language) or self.samples["en"]
        return [Passage("", text, (Entity(answer, type_),)) for text, type_, answer in samples]
