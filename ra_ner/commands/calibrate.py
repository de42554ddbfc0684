"""Calibrate the scores of extraction: find entities in a benchmark, and fit how often a score is right."""

import logging
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from . import CommandParser
from .extractor_flags import add_flags, load_extractor

if TYPE_CHECKING:
    from ..extraction.entities import Entity
    from ..passage import Passage

logger = logging.getLogger(__name__)


def make_parser() -> CommandParser:
    parser = CommandParser("calibrate", __doc__)
    parser.add_argument("--benchmark", required=True, help="annotated passages: a name, NAME=PATH, or a path")
    parser.add_argument("--limit", type=int, default=200, help="passages, drawn by the seed (default: 200)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", type=Path, help="file to write (default: calibration.json beside a local model)")
    add_flags(parser)
    parser.add_argument("--dry_run", action="store_true", help="check the benchmark; load and write nothing")
    return parser


def main(arguments: list[str]) -> None:
    options = make_parser().parse_args(arguments)
    folder = Path(options.model)
    if not options.output and not folder.is_dir():
        raise UserError(f"{options.model} is no folder that a calibration could stand in; name a file with --output")
    from tqdm import tqdm

    from ..corpora.benchmarks import load_benchmark
    from ..evaluation.run import types_asked
    from ..extraction.calibration import FILE, fit
    from ..passage import sample

    benchmark = load_benchmark(options.benchmark, options.language)
    passages = sample(benchmark.test, options.limit, options.seed)
    asked = types_asked(benchmark, passages, options.seed)
    if options.dry_run:
        print(f"{len(passages)} passages of {benchmark.name}\n\nA dry run: nothing was loaded or written")
        return
    extractor = load_extractor(options, calibrated=False)
    scores, right, owners = [], [], []
    pairs = sorted(zip(asked, passages, strict=True), key=lambda pair: pair[0])
    with tqdm(total=len(passages), unit="text") as progress:
        for types, group in groupby(pairs, key=lambda pair: pair[0]):
            members = [passage for _, passage in group]
            found = extractor.stream([passage.text for passage in members], types) if types else []
            for passage, extraction in zip(members, found, strict=False):
                scored = [entity for entity in extraction if entity.score is not None]
                scores += [entity.score for entity in scored]
                right += [is_right(entity, passage) for entity in scored]
                owners += [passage.id for _ in scored]
                progress.update()
    facts = {"benchmark": benchmark.name, "strategy": options.strategy, "k": options.k}
    calibration, table = fit(scores, right, owners, **facts)
    file = options.output or folder / FILE
    calibration.save(file)
    print(table)
    logger.info(f"calibration: {file}")


def is_right(entity: "Entity", passage: "Passage") -> bool:
    """Whether the gold annotation has an entity, at its place or, where the gold has no offsets, anywhere."""
    places = [(entity.start, entity.end), (None, None)]
    return any(
        (gold.text, gold.type) == (entity.text, entity.type) and (gold.start, gold.end) in places
        for gold in passage.entities
    )
