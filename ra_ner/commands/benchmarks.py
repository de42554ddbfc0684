"""List the benchmarks: where to get each, its license, its files, what was checked, and the words it is asked by."""

from ..corpora.benchmark_table import BENCHMARKS, CATCH_ALL, BenchmarkSpec
from ..errors import UserError, nearest
from . import CommandParser


def make_parser() -> CommandParser:
    parser = CommandParser("benchmarks", __doc__)
    # Not by `choices`, which Python 3.11 compares with the empty list too.
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to show; default: all")
    return parser


def main(arguments: list[str]) -> None:
    names = make_parser().parse_args(arguments).names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise UserError(f"unknown benchmark {unknown[0]}; {nearest(unknown[0], BENCHMARKS)}")
    print("\n\n".join(describe(name, BENCHMARKS[name]) for name in names))
    print("\nWrite `benchmarks: [NAME=PATH]` for files that you have, and choose the words with `words:`.")


def describe(name: str, spec: BenchmarkSpec) -> str:
    """What a reader needs to know of a benchmark, one fact on each line."""
    facts = {"where": spec.source, "license": spec.license, "files": spec.files, "checked": spec.checked}
    if spec.hub_id:
        facts["where"] = facts["where"].replace("the Hub", f"the Hub: {spec.hub_id}, config {spec.hub_config}", 1)
    sets = {"ra_ner": spec.words, **spec.published} if spec.words else {}
    for label_set, words in sets.items():
        asked = [f"{word} ({label})" if word != label else word for label, word in words.items() if word != CATCH_ALL]
        facts[f"words: {label_set}"] = ", ".join(asked)
    facts["words: file"] = "labels.json beside the files, else the types as the files write them"
    return "\n".join([f"{name} ({spec.language})", *(f"  {key:16} {value}" for key, value in facts.items() if value)])
