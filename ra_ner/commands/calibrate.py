"""Calibrate extraction on annotated passages: its scores, or with --on_demand when it shows in-context examples."""

import logging
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..output_folder import adopt
from . import CommandParser
from .extractor_flags import add_flags, check_examples, load_extractor

if TYPE_CHECKING:
    from ..extraction.calibration import Calibration
    from ..extraction.entities import Entity, Extraction
    from ..extractor import Extractor
    from ..passage import Passage
    from ..retrieval.on_demand import OnDemand

    Asked = list[tuple[list[str], Passage]]  # the types that each passage is asked for

logger = logging.getLogger(__name__)


def make_parser() -> CommandParser:
    parser = CommandParser("calibrate", __doc__)
    parser.add_argument("--benchmark", required=True, help="annotated passages: a name, NAME=PATH, or a path")
    parser.add_argument(
        "--on_demand",
        action="store_true",
        help="choose the threshold of strategy on_demand instead of calibrating scores",
    )
    parser.add_argument("--limit", type=int, default=200, help="most passages, drawn by the seed (default: 200)")
    parser.add_argument("--seed", type=int, default=42, help="(default: 42)")
    parser.add_argument(
        "--output",
        type=Path,
        help="file to write (default: calibration.json in the folder of the model; with --on_demand on_demand.json)",
    )
    add_flags(parser)
    parser.add_argument("--dry_run", action="store_true", help="check the benchmark; load and write nothing")
    return parser


def main(arguments: list[str]) -> None:
    options = make_parser().parse_args(arguments)
    check_examples(options)
    if options.limit < 1:
        raise UserError(f"--limit {options.limit}: at least 1 passage is needed")
    if options.output and options.output.is_dir():
        raise UserError(f"--output {options.output} is a folder; name a file in it")
    folder = Path(options.model)
    if not options.output and not folder.is_dir():
        raise UserError(
            f"{options.model} is not a folder on this machine; say with --output where to write the calibration"
        )
    if options.on_demand and not options.examples:
        raise UserError("--on_demand needs --examples: the corpus that the examples are taken from")
    if options.on_demand and options.strategy not in ("on_demand", "nn"):
        raise UserError(f"--on_demand is for the nearest examples; leave out --strategy {options.strategy}")
    from ..corpora.benchmarks import load_benchmark
    from ..evaluation.run import types_asked
    from ..extraction import calibration
    from ..inference.models import find_model
    from ..passage import sample
    from ..retrieval import on_demand

    language = find_model(options.model, language=options.language, with_weights=False).language
    benchmark = load_benchmark(options.benchmark, language)
    passages = sample(benchmark.test, options.limit, options.seed)
    asked = sorted(zip(types_asked(benchmark, passages, options.seed), passages, strict=True), key=lambda pair: pair[0])
    if options.dry_run:
        print(f"{len(passages)} passages of {benchmark.name}\n\nA dry run: nothing was loaded or written")
        return
    if options.on_demand:
        options.strategy = "nn"
    extractor = load_extractor(options, calibrated=False)
    if options.on_demand:
        chosen, table = _choose_threshold(extractor, asked, benchmark=benchmark.name, k=options.k)
        file = options.output or folder / on_demand.FILE
        print(f"{table}\n\n{chosen}")
    else:
        chosen, table = _fit(extractor, asked, benchmark=benchmark.name, strategy=options.strategy, k=options.k)
        file = options.output or folder / calibration.FILE
        print(table)
    chosen.save(file)
    if file.parent == folder:
        adopt(file)
    logger.info(f"calibration: {file}")


def _fit(extractor: "Extractor", asked: "Asked", **facts: object) -> tuple["Calibration", str]:
    """Fit the calibration of scores."""
    from ..extraction.calibration import fit

    scores, right, owners, without = [], [], [], 0
    for passage, _, extraction in _extract(extractor, asked):
        scored = [entity for entity in extraction if entity.score is not None]
        without += len(extraction) - len(scored)
        scores += [entity.score for entity in scored]
        right += [is_right(entity, passage) for entity in scored]
        owners += [passage.id for _ in scored]
    if without and not scores:
        raise UserError(f"none of {without} entities has a score: the server sends no logprobs, see --server_api")
    return fit(scores, right, owners, **facts)


def _choose_threshold(extractor: "Extractor", asked: "Asked", **facts: object) -> tuple["OnDemand", str]:
    """Ask about all passages with examples and without, and choose when to show them."""
    from ..recipe_keys import DatasetConfig
    from ..retrieval.on_demand import choose_threshold

    nearness = extractor.nearness(passage.text for _, passage in asked)
    without, with_ = (
        [_counts(*found) for found in _extract(arm, asked)] for arm in (extractor.with_examples([], "none"), extractor)
    )
    return choose_threshold(nearness, without, with_, DatasetConfig().bm25_threshold, **facts)


def _counts(passage: "Passage", types: list[str], extraction: "Extraction") -> tuple[int, int, int]:
    """True positives, false positives and false negatives among distinct mentions."""
    gold = {(mention, type_) for mention, type_ in passage.pairs if type_ in types}
    found = {(entity.text, entity.type) for entity in extraction}
    return len(gold & found), len(found - gold), len(gold - found)


def _extract(extractor: "Extractor", asked: "Asked") -> Iterator[tuple["Passage", list[str], "Extraction"]]:
    """What is found in each passage that is asked about; those with the same types are asked about together."""
    from tqdm import tqdm

    from ..extraction.entities import Extraction

    with tqdm(total=len(asked), unit="text") as progress:
        for types, group in groupby(asked, key=lambda pair: pair[0]):
            members = [passage for _, passage in group]
            texts = [passage.text for passage in members]
            found = extractor.stream(texts, types) if types else map(Extraction, texts)
            for passage, extraction in zip(members, found, strict=True):
                yield passage, types, extraction
                progress.update()


def is_right(entity: "Entity", passage: "Passage") -> bool:
    """Whether the gold annotation has an entity, at its place or, where the gold has no offsets, anywhere."""
    places = [(entity.start, entity.end), (None, None)]
    return any(
        (gold.text, gold.type) == (entity.text, entity.type) and (gold.start, gold.end) in places
        for gold in passage.entities
    )
