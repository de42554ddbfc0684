"""Tasks: what a model is trained and asked for. `task` in a recipe names one."""

from ..errors import UserError
from ..prompting.conversation import Wording
from ..recipe import Recipe, nearest_key
from .classification import CLASSIFICATION
from .ner import NER
from .relations import RELATIONS
from .task import Task

# A script may put its own task here, see docs/task_of_your_own.md.
TASKS: dict[str, Task] = {task.name: task for task in (NER, CLASSIFICATION, RELATIONS)}


def task_of(wording: str) -> Task:
    """The task that a wording asks for.

    Raises:
        UserError: there is no such wording.
    """
    names = {name: task for task in TASKS.values() for name, _ in task.wordings}
    if task := names.get(wording):
        return task
    raise UserError(f"unknown wording {wording}; use {', '.join(names)}")


def task_of_recipe(recipe: Recipe, wording: str | None = None) -> Task:
    """The task of a recipe.

    Args:
        wording: instead of that in the recipe.

    Raises:
        UserError: there is no such task, or the wording is that of another one.
    """
    name, wording = recipe.task, wording or recipe.dataset.wording
    if name not in TASKS:
        hint = nearest_key(name, list(TASKS))
        raise UserError(f"{recipe.path}: unknown task {name}{hint}; tasks are {', '.join(TASKS)}")
    if (task := task_of(wording)) is not TASKS[name]:
        raise UserError(f"{recipe.path}: `wording: {wording}` is for task {task.name}, not for {name}")
    return task


def find_wording(name: str, language: str) -> Wording:
    """Find a wording of any task.

    Raises:
        UserError: there is none of that name in that language.
    """
    wordings = task_of(name).wordings
    if wording := wordings.get((name, language)):
        return wording
    fitting = ", ".join(known for known, its_language in wordings if its_language == language)
    advice = fitting or "a wording of your own (docs/task_of_your_own.md)"
    raise UserError(f"wording {name} is not for language {language}; use {advice}")
