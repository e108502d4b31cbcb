"""What the training process tells its worker: lines of ``metrics.jsonl``.

::

    {"kind": "message", "level": "warn", "message": "…"}
    {"kind": "metrics", "step": 7, "total_steps": 50, "seconds_left": 81.2, "train_loss": 2.1, …}
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    kind: Literal["message"] = "message"
    level: Literal["info", "warn", "error"] = "info"
    message: str


MEASURES = {
    "loss": "train_loss",
    "mean_token_accuracy": "train_mean_token_accuracy",
    "eval_loss": "valid_loss",
    "eval_mean_token_accuracy": "valid_mean_token_accuracy",
    "rewards/accuracies": "train_rewards_accuracies",
    "rewards/margins": "train_rewards_margins",
    "eval_rewards/accuracies": "valid_rewards_accuracies",
    "eval_rewards/margins": "valid_rewards_margins",
}
"""What the Trainer logs, by OpenAI's names; TRL's rewards, those of DPO, have none there."""


def measured(logs: Mapping[str, float]) -> dict[str, float]:
    return {wire: logs[name] for name, wire in MEASURES.items() if name in logs}


class StepMetrics(BaseModel):
    """Of one optimizer step; losses are means over answer tokens, in nats.

    Rewards are DPO's (arXiv 2305.18290, eq. 5): ``beta`` times how much likelier, in nats, an
    answer became. ``margins`` are those of the preferred answer over the other, ``accuracies`` the
    share of pairs where it is positive.
    """

    model_config = ConfigDict(extra="ignore")

    kind: Literal["metrics"] = "metrics"
    step: int
    total_steps: int
    seconds_left: float | None = None
    epoch: float | None = None
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    train_rewards_accuracies: float | None = None
    train_rewards_margins: float | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    valid_rewards_accuracies: float | None = None
    valid_rewards_margins: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    trained_tokens: int | None = None


Line = Message | StepMetrics


def parse(line: bytes) -> Line | None:
    """None of what a full disk or a host's end cut off, with whatever was written behind it."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    kind = StepMetrics if row["kind"] == "metrics" else Message
    return kind.model_validate(row)


class Reporter:
    """Appends lines; each is out of the process before the next step begins."""

    def __init__(self, path: Path, *, active: bool = True) -> None:
        self._path = path
        self._active = active

    def write(self, line: Line) -> None:
        if self._active:
            with self._path.open("a") as file:
                file.write(line.model_dump_json(exclude_none=True) + "\n")


class Pace:
    """Seconds that remain at the pace of this process so far."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first: int | None = None

    def start(self, step: int) -> None:
        self._started, self._first = time.monotonic(), step

    def seconds_left(self, step: int, total: int) -> float | None:
        done = step - (self._first or 0)
        if done <= 0:
            return None
        return round((time.monotonic() - self._started) / done * (total - step), 1)


class Lines:
    """Complete lines appended to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[Line]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            block = file.read()
        whole, _, _ = block.rpartition(b"\n")
        self._offset += len(whole) + 1 if whole else 0
        lines = [parse(line) for line in whole.splitlines() if line]
        return [line for line in lines if line is not None]
