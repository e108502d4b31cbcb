"""A fine-tuning job as its page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.common.clients.trainer import TrainerClient
from services.common.contracts.trainer import FineTuningJob, JobEvent
from services.evaluator.dashboard.plots import Curve, curve

UNFINISHED = frozenset({"validating_files", "queued", "running"})
LOSSES = {
    "train_loss": "Training loss",
    "valid_loss": "Validation loss",
    "full_valid_loss": "Full validation loss",
}


MOST_EVENT_PAGES = 10  # of a thousand events each


@dataclass(frozen=True)
class JobView:
    job: FineTuningJob
    recipe: str
    settings: list[tuple[str, str]]
    share: float | None
    live: bool


@dataclass(frozen=True)
class LossView:
    """``summary`` says the curve in a sentence, for those who do not see it."""

    curve: Curve
    summary: str


def job_view(job: FineTuningJob) -> JobView:
    """``share`` is the part of the optimizer's steps done, 0 to 1; None before it is known."""
    asked = _hyperparameters(job)
    total = job.progress.total_steps
    share = min(1.0, job.progress.step / total) if total else None
    return JobView(
        job=job,
        recipe=str(asked.get("recipe", "qa")),
        settings=_flat({key: value for key, value in asked.items() if key != "recipe"}),
        share=1.0 if job.status == "succeeded" else share,
        live=job.status in UNFINISHED,
    )


def _hyperparameters(job: FineTuningJob) -> dict[str, Any]:
    """The method's own, over OpenAI's three: a job made the deprecated way has only those."""
    supervised = job.method.get("supervised")
    of_method = supervised.get("hyperparameters") if isinstance(supervised, dict) else None
    merged = dict(of_method) if isinstance(of_method, dict) else {}
    resolved = {key: value for key, value in job.hyperparameters.items() if value != "auto"}
    return merged | resolved


def _flat(settings: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            rows.extend(_flat(value, f"{prefix}{key}."))
        elif isinstance(value, list):
            rows.append((prefix + key, ", ".join(str(part) for part in value)))
        elif value is not None:
            rows.append(
                (prefix + key, str(value).lower() if isinstance(value, bool) else str(value))
            )
    return rows


async def all_events(trainer: TrainerClient, job_id: str) -> list[JobEvent]:
    """The job's events, oldest first; of a very long job the beginning."""
    events: list[JobEvent] = []
    after: str | None = None
    for _ in range(MOST_EVENT_PAGES):
        page = await trainer.events(job_id, after=after)
        events.extend(page.data)
        if not page.has_more or not page.data:
            break
        after = page.data[-1].id
    return events


def loss_view(events: Sequence[JobEvent]) -> LossView | None:
    """The loss over steps from the job's ``metrics`` events; None while there are none."""
    series: dict[str, Sequence[tuple[float, float]]] = {}
    for key, name in LOSSES.items():
        points = sorted(
            (float(event.data["step"]), float(event.data[key]))
            for event in events
            if event.type == "metrics"
            and event.data is not None
            and _is_number(event.data.get("step"))
            and _is_number(event.data.get(key))
        )
        if points:
            series[name] = points
    drawn = curve(series)
    if drawn is None:
        return None
    return LossView(drawn, " ".join(_sentence(name, points) for name, points in series.items()))


def _sentence(name: str, points: Sequence[tuple[float, float]]) -> str:
    (first_step, first), (last_step, last) = points[0], points[-1]
    if len(points) == 1:
        return f"{name} is {first:.3g} at step {first_step:g}."
    if f"{first:.3g}" == f"{last:.3g}":
        return f"{name} stays at {last:.3g} from step {first_step:g} to step {last_step:g}."
    moved = "fell" if last < first else "rose"
    return (
        f"{name} {moved} from {first:.3g} at step {first_step:g} to {last:.3g} "
        f"at step {last_step:g}."
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
