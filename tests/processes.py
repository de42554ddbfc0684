"""Scripts as processes of their own, forked from a server that has the heavy imports behind it."""

import contextlib
import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from ra_ner import cli

# Not conftest, which would start a loopback Hub of its own: the scripts talk to the one of the tests.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["ra_ner.training.trainer", "ra_ner.evaluation.run", "sentence_transformers"])


def _child(
    folder: Path, script: str, args: list, environment: dict, log: str, before: Callable[[], None] | None
) -> None:
    os.chdir(folder)
    os.environ.update(environment)
    with open(log, "w", buffering=1) as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        import torch

        torch.set_num_threads(1)
        if before:
            before()
        sys.exit(cli.run(script, args))


def start(
    folder: Path,
    script: str,
    *args: object,
    environment: dict[str, str] | None = None,
    log: Path | str = os.devnull,
    before: Callable[[], None] | None = None,
) -> BaseProcess:
    """Start `script` in `folder`. `before` is a function of a module, called in the process before the script."""
    words = [str(arg) for arg in args]
    process = SERVER.Process(target=_child, args=(folder, script, words, environment or {}, str(log), before))
    process.start()
    return process


def start_ranks(
    folder: Path,
    logs: Path,
    *args: object,
    script: str = "train",
    environment: dict[str, str] | None = None,
    **kwargs,
) -> list[BaseProcess]:
    """Start a script as two processes that work together, as torchrun does; each logs to `logs`/<rank>."""
    logs.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        start(
            folder,
            script,
            *args,
            environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank), **(environment or {})},
            log=logs / str(rank),
            **kwargs,
        )
        for rank in range(2)
    ]


def join(processes: list[BaseProcess]) -> list[int]:
    """Wait for processes and return their exit codes."""
    for process in processes:
        process.join(120)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def losses(run: Path) -> list[float]:
    """The training losses that the last checkpoint of a run tells of."""
    last = (run / "checkpoints" / "last").read_text().strip()
    history = json.loads((run / "checkpoints" / last / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


def count_maps() -> None:
    """Have `datasets` use an empty cache, and print how many rows this process maps or filters itself."""
    import datasets

    datasets.config.HF_DATASETS_CACHE = Path(os.environ["EMPTY_CACHE"])
    map_single = datasets.Dataset._map_single

    def counted(shard, *args, **kwargs):
        print(f"mapped {len(shard)} rows")
        yield from map_single(shard, *args, **kwargs)

    datasets.Dataset._map_single = staticmethod(counted)


def share_out_on_cpus() -> None:
    """Let accelerate take two CPU processes for GPUs: it shares a model out over GPUs only, where torch needs none.

    At each checkpoint the process prints which part of the model's elements it holds.
    """
    from accelerate import PartialState
    from accelerate.utils import DistributedType

    from ra_ner.commands import train as train_sft
    from ra_ner.training import checkpoints

    run, mark_last = train_sft.run, checkpoints.mark_last

    def run_as_on_gpus(*args):
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        run(*args)

    def mark_last_with_shares(trainer, facts, limit):
        parameters = list(trainer.model.parameters())
        held = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in parameters)
        print(f"holds {held} of {sum(p.numel() for p in parameters)}")
        mark_last(trainer, facts, limit)

    train_sft.run, checkpoints.mark_last = run_as_on_gpus, mark_last_with_shares


def hurry() -> None:
    """Wait for other processes for one second, not ten."""
    from ra_ner.training import checkpoints

    checkpoints.ANSWER_SECONDS = 1


def print_batches() -> None:
    """Have training print, for each batch, the device and a digest of its tokens and of which of them are trained."""
    import hashlib

    from ra_ner.training.trainer import AdapterTrainer

    training_step = AdapterTrainer.training_step

    def printing_step(trainer, model, inputs, *args, **kwargs):
        tensors = [inputs[name] for name in ("input_ids", "labels")]
        digest = hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors)).hexdigest()
        print(f"batch on {model.device.type}: {digest}")
        return training_step(trainer, model, inputs, *args, **kwargs)

    AdapterTrainer.training_step = printing_step
