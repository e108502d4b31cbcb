"""One run, described completely: what the worker writes and the training process reads.

A run's folder::

    config.json            this
    train.jsonl            prompts as rendered; valid.jsonl where there is a validation file
    metrics.jsonl          what happened, a line each (see ``progress``)
    checkpoints/           Trainer checkpoints to go on from
    adapter/               adapter_config.json, adapter_model.safetensors, canary.json
    result.json            written last; or failure.json
    output.log             what the process printed
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from services.common.contracts.trainer import SupervisedHyperparameters

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "canary.json")


class RunConfig(BaseModel):
    """``dataset_sha256`` is that of the uploaded file, ``train_sha256`` of the rendered prompts."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    base_model: str
    base_model_path: str
    seed: int
    hyperparameters: SupervisedHyperparameters
    micro_batch_tokens: int | None
    dataset_sha256: str
    train_sha256: str
    template_sha256: str
    versions: dict[str, str]


class Result(BaseModel):
    """How a run ended. ``trained_tokens`` counts every token seen, prompts too, padding not."""

    step: int
    trained_tokens: int
    metrics: dict[str, float]
    seconds: float


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
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.adapter = path / "adapter"
        self.result = path / "result.json"
        self.failure = path / "failure.json"
        self.output = path / "output.log"

    def read_config(self) -> RunConfig:
        return RunConfig.model_validate_json(self.config.read_bytes())


def write_whole(path: Path, content: str) -> None:
    """Write a file that appears complete or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(content)
    partial.replace(path)
