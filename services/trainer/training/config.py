"""One run, described completely: what the worker writes and the training process reads.

A run's folder::

    config.json            this: what was asked, resolved, and what from
    train.jsonl            prompts as rendered; valid.jsonl where there is a validation file
    plan.json              what became of it on this machine: steps, micro-batch, device, base model
    metrics.jsonl          what happened, a line each (see ``progress``)
    tensorboard/           the same for TensorBoard
    checkpoints/           Trainer checkpoints to go on from
    kept/step-N/           raw adapters of checkpoints that were asked for
    adapter/               the files of ADAPTER_FILES
    candidates/step-N/     the same for each adapter that was kept
    result.json            written last; or failure.json; or paused
    pause                  asks to pause; paused says that it is done
    output.log             what the process printed
"""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from services.common.contracts.hyperparameters import DpoHyperparameters, SupervisedHyperparameters

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "canary.json", "README.md")


class RunConfig(BaseModel):
    """``dataset_sha256`` is of the uploaded file, ``train_sha256`` and ``valid_sha256`` are of the
    rendered prompts.

    ``micro_batch_tokens`` bounds the tokens of one forward pass; each of ``micro_batch_halvings``
    halves what comes of it. ``integrations`` are the job's.
    """

    model_config = ConfigDict(frozen=True)

    job_id: str
    base_model: str
    base_model_path: str
    seed: int
    hyperparameters: SupervisedHyperparameters | DpoHyperparameters
    micro_batch_tokens: int | None
    micro_batch_halvings: int = 0
    integrations: list[dict[str, Any]] = []
    dataset_sha256: str
    train_sha256: str
    valid_sha256: str | None = None
    template_sha256: str
    versions: dict[str, str]


class Plan(BaseModel):
    """How the batches of a run are made on the machine that trains.

    An optimizer step takes ``micro_batch`` examples in each of ``processes``, and that
    ``gradient_accumulation_steps`` times. ``base_model_revision`` is a commit of the Hugging Face
    hub, or ``sha256:`` over the safetensors files of a folder. ``torch_compile`` says whether the
    model's layers are compiled, ``merged`` whether they are computed with merged weights.
    """

    model_config = ConfigDict(frozen=True)

    examples: int
    steps_per_epoch: int
    steps: int
    micro_batch: int
    gradient_accumulation_steps: int
    processes: int
    device: str
    dtype: str
    base_model_revision: str
    torch_compile: bool = False
    merged: bool = False

    @property
    def batch_size(self) -> int:
        return self.micro_batch * self.gradient_accumulation_steps * self.processes

    def halved(self) -> Self:
        """The same steps of parts at most half as large: of 6, 3; of 3, 1."""
        share = self.micro_batch * self.gradient_accumulation_steps
        parts = [size for size in range(1, self.micro_batch // 2 + 1) if share % size == 0]
        micro = max(parts, default=1)
        update = {"micro_batch": micro, "gradient_accumulation_steps": share // micro}
        return self.model_copy(update=update)


class KeptStep(BaseModel):
    """A step whose adapter was kept, and what was measured there."""

    step: int
    metrics: dict[str, float]


class Result(BaseModel):
    """How a run ended: ``step`` is that of the adapter, ``last_step`` where training ended.

    ``trained_tokens`` counts every token seen, prompts too, padding not. ``seconds`` are of
    training alone, over all the processes it took; ``compile_seconds`` went by before them in the
    last process; ``peak_memory_bytes`` of the main process: resident on a CPU, allocated on a GPU.
    """

    step: int
    last_step: int
    trained_tokens: int
    metrics: dict[str, float]
    seconds: float
    compile_seconds: float = 0.0
    peak_memory_bytes: int
    adapter_sha256: str
    candidates: list[KeptStep] = []


class Failure(BaseModel):
    """Why a run ended without an adapter, in a sentence for the caller."""

    code: str
    message: str
    param: str | None = None


class RunFolder:
    """Where the files of one run are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.train = path / "train.jsonl"
        self.valid = path / "valid.jsonl"
        self.plan = path / "plan.json"
        self.metrics = path / "metrics.jsonl"
        self.tensorboard = path / "tensorboard"
        self.checkpoints = path / "checkpoints"
        self.kept = path / "kept"
        self.candidates = path / "candidates"
        self.adapter = path / "adapter"
        self.result = path / "result.json"
        self.failure = path / "failure.json"
        self.pause = path / "pause"
        self.paused = path / "paused"
        self.output = path / "output.log"

    def candidate(self, step: int) -> Path:
        return self.candidates / f"step-{step}"

    def read_config(self) -> RunConfig:
        return RunConfig.model_validate_json(self.config.read_bytes())

    def read_plan(self) -> Plan | None:
        """None before the process has looked at the model and the data."""
        return Plan.model_validate_json(self.plan.read_bytes()) if self.plan.exists() else None


def write_whole(path: Path, content: str) -> None:
    """Write a file that appears complete or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(content)
    partial.replace(path)
