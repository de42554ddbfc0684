"""The cards of scores and of predictions."""

from huggingface_hub import EvalResult
from huggingface_hub.repocard_data import eval_results_to_model_index

from .. import markdown
from ..hub.card import new_card
from ..recipe import Recipe
from ..tasks import Task


def scores_card(recipe: Recipe, report: str, results: list[EvalResult]) -> str:
    """The part of a model's card that holds an evaluation's report, and the results as metadata."""
    index = eval_results_to_model_index(recipe.name, results) if results else None
    body = report.replace("# ", "## Scores: ", 1)
    return new_card({"model-index": index}, recipe.name, f"scores of {recipe.name}", body)


def predictions_card(recipe: Recipe, file: str, task: Task) -> str:
    """The card of a config of predictions."""
    metadata = {
        "language": [recipe.language],
        "tags": [*task.tags, "ra-it", "predictions"],
        "configs": [{"config_name": recipe.name, "data_files": [{"split": "test", "path": file}]}],
    }
    body = f"""## {markdown.cell(recipe.name)}

Each query of an evaluation: the gold entities, the raw answer, what was read of it, and the examples shown. Load it
with `load_dataset(<this repo>, "{recipe.name}", split="test")`."""
    return new_card(metadata, f"Predictions for {task.title}", recipe.name, body)
