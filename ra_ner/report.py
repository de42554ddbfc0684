"""Scores as a page for people."""

from .markdown import cell, table


def report(scores: dict) -> str:
    """The report of one evaluation in Markdown; `scores` is what scores.json holds."""
    figures = [(score, key) for score in ("span", "legacy") for key in ("precision", "recall", "f1")]
    rows = [
        [result["model"], result["benchmark"], result["setting"]]
        + [f"{100 * result[score][key]:.1f}" for score, key in figures]
        + [result["queries"], result["unparsed"]]
        for result in scores["results"]
    ]
    header = ["model", "benchmark", "setting"]
    header += [f"{score} {key}" for score in ("span", "legacy") for key in ("P", "R", "F1")] + ["queries", "unparsed"]
    taken = f"a sample of {scores['limit']} passages (seed {scores['seed']})" if scores["limit"] else "all passages"
    return f"""# {cell(scores["recipe"])}

{table(header, rows)}

Micro-averaged over queries, one for each passage and type; of each benchmark {taken}. `span` counts gold spans, and
an answer that can't be read is wrong; `legacy` is UniversalNER's score, under which it counts as an empty list.
In-context settings show {scores["k"]} examples. Answers: {cell(scores["dtype"])}, at most {scores["max_new_tokens"]}
tokens.
"""
