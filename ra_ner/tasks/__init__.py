"""Tasks: what a model is trained and asked for. `task` in a recipe names one."""

from ..errors import UserError
from ..prompting import conversation
from ..recipe import Recipe, nearest_key
from .classification import CLASSIFICATION
from .ner import NER
from .relations import RELATIONS
from .task import DEFAULT, Sample, Score, Task

__all__ = ["DEFAULT", "Sample", "Score", "Task", "find_task", "find_wording", "register", "task_of", "task_of_recipe"]

TASKS: dict[str, Task] = {task.name: task for task in (NER, CLASSIFICATION, RELATIONS)}


def register(task: Task) -> None:
    """Make a task known to recipes. Its default wording has its name."""
    TASKS[task.name] = task


def find_task(name: str) -> Task:
    """The task of a name.

    Raises:
        UserError: there is none.
    """
    if task := TASKS.get(name):
        return task
    raise UserError(f"unknown task {name}{nearest_key(name, list(TASKS))}; tasks are {', '.join(TASKS)}")


def task_of(wording: str) -> Task:
    """The task that a wording asks for.

    Raises:
        UserError: there is no such wording.
    """
    for task in TASKS.values():
        if wording in {name for name, _ in task.wordings}:
            return task
    known = dict.fromkeys(name for task in TASKS.values() for name, _ in task.wordings)
    raise UserError(f"unknown wording {wording}; use {', '.join(known)}")


def find_wording(name: str, language: str) -> conversation.Wording:
    """Find a wording of any task.

    Raises:
        UserError: there is none of that name in that language.
    """
    return conversation.find_wording(name, language, task_of(name).wordings)


def task_of_recipe(recipe: Recipe, wording: str | None = None) -> Task:
    """The task of a recipe.

    Args:
        wording: instead of that in the recipe.

    Raises:
        UserError: there is no such task, or the wording is that of another one.
    """
    task, wording = find_task(recipe.task), wording or recipe.dataset.wording
    if task_of(wording) is not task:
        known = ", ".join(dict.fromkeys(name for name, _ in task.wordings))
        raise UserError(f"{recipe.path}: `wording: {wording}` is not for task {task.name}; use {known}")
    return task
