"""Scores, reports and predictions to the Hub."""

import json
import logging
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml

from ..atomic_files import write_text
from ..corpora.benchmarks import BENCHMARKS
from ..hub import repos
from ..recipe import Recipe
from .card import predictions_card, scores_card
from .report import task_of_scores

logger = logging.getLogger(__name__)


def push_to_hub(output_dir: Path, recipe: Recipe, repo_id: str, predictions_id: str | None = None) -> None:
    """Push scores and report to a model repo, and predictions to the same repo, or to a dataset repo if one is named.

    The report goes into the model's card. Scores of the model itself, of several revisions the last one, also go into
    `model-index` and, for benchmarks that were read from the Hub, into `.eval_results`, which the Hub's leaderboards
    read.

    Raises:
        UserError: a push failed.
    """
    folder = f"evaluation/{recipe.name}"
    on_failure = f"the scores are kept in {output_dir}; a second run asks no model again"
    scores = json.loads((output_dir / "scores.json").read_text(encoding="utf-8"))
    task = task_of_scores(scores)
    own = [row for row in scores["results"] if row["model"].partition("@")[0] in (repo_id, recipe.name)]
    own = [row for row in own if row["model"] == own[-1]["model"]]  # one set of scores, although the report has all
    names = ["scores.json", "report.md", "report.html", *([] if predictions_id else ["predictions.jsonl"])]
    files = {f"{folder}/{name}": output_dir / name for name in names}
    if entries := [
        EvalResultEntry(
            dataset_id=spec.hub_id,
            task_id=f"{spec.hub_config}_{row['setting']}",
            value=round(100 * row[task.main.name]["f1"], 2),
            notes=f"{task.main.label}, {row['setting']}, {passages_asked(scores)}, "
            f"labels {scores['labels'][row['benchmark']]}",
        )
        for row in own
        if (spec := BENCHMARKS.get(row["benchmark"])) and spec.hub_id
        if row["benchmark"] in scores["config"]["benchmarks"]  # not NAME=PATH: files of the user
    ]:
        files[f".eval_results/{recipe.name}.yaml"] = output_dir / "eval_results.yaml"
        content = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True)
        write_text(files[f".eval_results/{recipe.name}.yaml"], content)
    results = [
        EvalResult(
            task_type=task.category,
            task_name=task.title,
            dataset_type=row["benchmark"],
            dataset_name=f"{row['benchmark']}, {row['setting']}, {passages_asked(scores)}",
            metric_type=task.measured.lower(),
            metric_name=score.label,
            metric_value=round(100 * row[score.name]["f1"], 2),
        )
        for row in own
        for score in task.metric.studied
    ]
    card = scores_card(recipe, (output_dir / "report.md").read_text(encoding="utf-8"), results)
    commit = repos.push("model", repo_id, files, card, f"Scores of recipe {recipe.name}", on_failure, folder)
    logger.info("pushed to %s at %s", repo_id, commit)
    if predictions_id:
        file = f"{recipe.name}/predictions.jsonl"
        card = predictions_card(recipe, file, task)
        files = {file: output_dir / "predictions.jsonl"}
        commit = repos.push("dataset", predictions_id, files, card, f"Predictions of recipe {recipe.name}", on_failure)
        logger.info("pushed to %s at %s", predictions_id, commit)


def passages_asked(scores: dict) -> str:
    limit = scores["config"]["limit"]
    return f"a sample of {limit} passages" if limit else "all passages"
