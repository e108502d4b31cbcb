"""A whole job's training phase against a hand-written PEFT loop and TRL's defaults.

Ours is the real thing: the training process that a worker starts, on a run's folder as a worker
prepares it. The peers (see ``bench.peers``) train on the same examples in the same batches with the
same seed and optimizer, one after the other, each in a process of its own. Their losses must agree,
step by step; the benchmark fails when they do not, for then the speed means nothing.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import BooleanOptionalAction
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from rich.console import Console

from bench.harness import Figure, conclude, parser
from fineproof.demo.corpus import generate, write
from fineproof.models.catalog import resolve
from fineproof.models.pull import pull
from services.common.contracts.hyperparameters import Retrieval, SupervisedHyperparameters
from services.common.prompts import TEMPLATE_SHA256, render_messages
from services.trainer import hyperparameters
from services.trainer.running.launch import TrainingProcess
from services.trainer.training.config import RunConfig, RunFolder, write_whole
from services.trainer.training.progress import Lines, StepMetrics

TOLERANCE = 2e-3
"""Nats by which the loss of a step may differ; its trace is that of 32-bit sums in other orders."""

GOALS = {"bare": ">=1.4", "trl": ">=3"}
PEERS = {"bare": "PEFT loop with labels=", "trl": "TRL's SFTTrainer at its defaults"}


@dataclass(frozen=True)
class Measured:
    """``seconds`` of training alone; ``tokens`` without padding; a loss for each step, in nats."""

    losses: list[float]
    seconds: float
    tokens: int
    peak_memory_bytes: int
    startup_seconds: float

    @property
    def speed(self) -> float:
        return self.tokens / self.seconds


def prompts(data: Path, recipe: str, pairs: int) -> list[dict[str, Any]]:
    """Training rows as a worker renders them. For ``rag`` each shows its gold passage between two
    that follow it in the corpus: the lengths are those of retrieval, without a stack."""
    passages = [SimpleNamespace(**{"title": "", **row}) for row in _rows(data / "corpus.jsonl")]
    at = {passage.id: index for index, passage in enumerate(passages)}

    def around(question: dict[str, Any]) -> list[Any]:
        first = at[question["evidence_ids"][0]]
        return [passages[(first + step) % len(passages)] for step in (1, 0, 2)]

    return [
        {
            "prompt": render_messages(row["question"], around(row) if recipe == "rag" else ()),
            "completion": row["answer"],
        }
        for row in islice(_rows(data / "train.jsonl"), pairs)
    ]


def _rows(path: Path) -> Any:
    with path.open() as lines:
        yield from map(json.loads, lines)


def prepared(place: Path, rows: list[dict[str, Any]], recipe: str, asked: Any) -> RunFolder:
    """A run's folder for one pass over ``rows`` at a constant learning rate."""
    folder = RunFolder(place)
    place.mkdir()
    folder.train.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wanted = SupervisedHyperparameters.model_validate(
        {
            "n_epochs": 1,
            "batch_size": asked.batch_size,
            "torch_compile": asked.torch_compile,
            "lr_scheduler_type": "constant",
            "warmup_ratio": 0,
            "max_length": 8192,
            "save_total_limit": 0,
            "recipe": recipe,
            "retrieval": Retrieval(vector_store_id="none") if recipe == "rag" else None,
        }
    )
    config = RunConfig(
        job_id=f"bench-{recipe}",
        base_model=asked.base.name,
        base_model_path=str(asked.base.folder),
        seed=asked.seed,
        hyperparameters=hyperparameters.resolve(wanted, len(rows)),
        micro_batch_tokens=None,
        dataset_sha256="",
        train_sha256="",
        template_sha256=TEMPLATE_SHA256,
        versions={},
    )
    write_whole(folder.config, config.model_dump_json())
    return folder


def ours(folder: RunFolder) -> Measured:
    started = time.time()
    process = TrainingProcess(folder, None, devices="cpu", offline=True, trackers={})
    while process.is_running:
        time.sleep(0.2)
    process.close()
    if not folder.result.exists():
        raise SystemExit(f"the job failed: {process.failure().message}")
    result = json.loads(folder.result.read_bytes())
    steps = [line for line in Lines(folder.metrics).read() if isinstance(line, StepMetrics)]
    return Measured(
        losses=[step.train_loss for step in steps if step.train_loss is not None],
        seconds=result["seconds"],
        tokens=result["trained_tokens"],
        peak_memory_bytes=result["peak_memory_bytes"],
        startup_seconds=folder.plan.stat().st_mtime - started + result["compile_seconds"],
    )


def peer(kind: str, folder: RunFolder) -> Measured:
    out = folder.path / f"{kind}.json"
    started = time.monotonic()
    command = [sys.executable, "-m", "bench.peers", kind, str(folder.path), str(out)]
    with (folder.path / f"{kind}.log").open("wb") as log:
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        subprocess.run(command, stdout=log, stderr=log, check=True, env=environment)
    told = json.loads(out.read_bytes())
    return Measured(**told, startup_seconds=time.monotonic() - started - told["seconds"])


def figures(recipe: str, job: Measured, kind: str, other: Measured) -> list[Figure]:
    apart = max(abs(a - b) for a, b in zip(job.losses, other.losses, strict=True))
    if apart > TOLERANCE:
        raise SystemExit(f"{recipe}: losses differ by {apart:.2g} from those of {PEERS[kind]}")
    speed = Figure(
        name=f"{recipe}: training against {PEERS[kind]}",
        unit="tokens/s",
        value=job.speed,
        reference=other.speed,
        goal=GOALS[kind],
    )
    memory = Figure(
        name=f"{recipe}: peak memory against {PEERS[kind]}",
        unit="GB",
        value=job.peak_memory_bytes / 1e9,
        reference=other.peak_memory_bytes / 1e9,
        goal="<=1",
    )
    return [speed, memory]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, help="a folder of data; the demo corpus by default")
    arguments.add_argument("--pairs", type=int, default=200, help="training pairs of recipe qa")
    arguments.add_argument("--rag-pairs", type=int, default=64, help="and of recipe rag")
    arguments.add_argument("--batch-size", type=int, default=8, help="examples a step")
    arguments.add_argument(
        "--torch-compile",
        action=BooleanOptionalAction,
        default=True,
        help="our steps as those of long runs, which are compiled: a few stand for many; start-up "
        "holds the compiling. Without, they are those of runs of up to five minutes",
    )
    arguments.add_argument("--seed", type=int, default=2406, help="of the data and the LoRA")
    arguments.add_argument("--home", type=Path, default=Path(".fineproof"), help="with models/")
    asked = arguments.parse_args()
    asked.base = resolve("smollm2-135m-instruct", asked.home.absolute())
    pull(asked.base, lambda _done, _doing: None)

    found: list[Figure] = []
    details: dict[str, Any] = {"peers": PEERS, "threads": torch.get_num_threads()}
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        data = asked.data
        if data is None:
            data = Path(scratch) / "demo"
            write(data, generate(asked.seed))
        for recipe, pairs in (("qa", asked.pairs), ("rag", asked.rag_pairs)):
            rows = prompts(data, recipe, pairs)
            folder = prepared(Path(scratch) / recipe, rows, recipe, asked)
            runs = {"fineproof": ours(folder)}
            for kind in PEERS:
                runs[kind] = peer(kind, folder)
                found += figures(recipe, runs["fineproof"], kind, runs[kind])
            for name, run in runs.items():
                console.print(f"{recipe} {name}: {run.speed:.0f} tokens/s", highlight=False)
            plan = folder.read_plan()
            details[recipe] = {
                "torch_compile": plan is not None and plan.torch_compile,
                "data": data.name,
                "pairs": len(rows),
                "tokens": runs["fineproof"].tokens,
                "startup_seconds": {n: round(run.startup_seconds, 1) for n, run in runs.items()},
                "training_seconds": {n: round(run.seconds, 1) for n, run in runs.items()},
                "last_loss": {n: round(run.losses[-1], 5) for n, run in runs.items()},
            }
    packages = ["torch", "transformers", "peft", "trl", "accelerate"]
    conclude("trainer", found, packages=packages, details=details)


if __name__ == "__main__":
    main()
