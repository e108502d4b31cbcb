"""A job's estimate: its file measured, what its base model is, and what is known of the device."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from sqlalchemy.orm import Session

from services.common.contracts.hyperparameters import DpoHyperparameters
from services.common.contracts.trainer import FineTuningJobCreate
from services.common.errors import InvalidRequest
from services.trainer import storage
from services.trainer.architecture import Architecture, UnknownArchitecture, architecture
from services.trainer.context import Trainer
from services.trainer.estimate import (
    Asked,
    Data,
    kind_of,
    memory,
    optimizer_steps,
    refusal,
    seconds_at,
    seconds_by_flops,
)
from services.trainer.hyperparameters import examples_of, recipe_of, resolve
from services.trainer.models import Device, File, Job
from services.trainer.preparing.examples import Example, InvalidTrainingFile
from services.trainer.preparing.recipes import open_recipe
from services.trainer.preparing.rendering import Rendered, lengths_of
from services.trainer.preparing.tokens import TemplateRefuses, token_counter
from services.trainer.schemas import Estimate, EstimatedMemory
from services.trainer.service import new_job

SAMPLE = 1_000
SEARCHED = 50
"""Examples that are rendered: without a retriever, and with one."""


@dataclass(frozen=True)
class Measured:
    data: Data
    source: Literal["all", "sample", "searches"]


def estimate(session: Session, trainer: Trainer, ask: FineTuningJobCreate) -> Estimate:
    """Raises what creating the job would, and ``does_not_fit``."""
    job = new_job(session, trainer, ask)
    asked, base = job.hyperparameters, trainer.settings.base_models[ask.model]
    file = storage.get_file(session, ask.training_file)
    assert file is not None  # new_job has seen it, and holds it
    measured = _measure(trainer, job, file, asked)
    data, resolved = measured.data, resolve(asked, measured.data.examples)
    epochs, device = int(resolved.n_epochs), storage.device(session)
    budget = trainer.settings.micro_batch_tokens
    if device and (reason := refusal(base, resolved, data, device, budget)):
        raise InvalidRequest(reason, code="does_not_fit", param="method")
    model = _model(base)
    pace = storage.training_pace(session, ask.model, job.method["type"])
    seconds = seconds_at(pace, resolved, data) if pace else None
    if seconds is None and model and device and device.flops:
        seconds = seconds_by_flops(model, resolved, data, device.flops)
    needed = memory(model, resolved, data, kind_of(device), budget) if model and device else None
    return Estimate(
        model=ask.model,
        examples=data.examples,
        tokens=data.tokens,
        longest=data.longest,
        tokens_from=measured.source,
        n_epochs=epochs,
        batch_size=int(resolved.batch_size),
        steps=optimizer_steps(resolved, data),
        seconds=seconds and round(seconds, 1),
        basis=("earlier_jobs" if pace else "device") if seconds is not None else None,
        memory_bytes=needed and needed.total,
        memory=needed and EstimatedMemory.model_validate(asdict(needed)),
        device=device and device.name,
        fits=None if needed is None else True,
        reason=_missing(model, device) if seconds is None or needed is None else None,
    )


def _missing(model: Architecture | None, device: Device | None) -> str:
    if model is None:
        return "The configuration and weights of the base model do not say how large it is."
    if device is None:
        return "No worker has said yet what it trains on."
    return (
        "This trainer has trained no job of this base model yet, and how fast its device is has "
        "not been measured."
    )


def _model(base: str) -> Architecture | None:
    try:
        return architecture(base)
    except UnknownArchitecture:
        return None


def _measure(trainer: Trainer, job: Job, file: File, asked: Asked) -> Measured:
    """Tokens of the rendered prompts, multiplied up where only a sample was rendered."""
    searches = recipe_of(asked) in ("rag", "raft")
    size = SEARCHED if searches else SAMPLE
    examples, count = _sample(trainer, file, asked, size, job.seed)
    rendered = asyncio.run(_rendered(trainer, asked, examples, job.seed))
    counter = token_counter(trainer.settings.base_models[job.model])
    try:
        lengths = lengths_of(rendered, counter)
    except TemplateRefuses as refused:
        raise InvalidRequest(
            f"The base model's chat template refuses an example: {refused}.",
            code="invalid_training_file",
            param="training_file",
        ) from refused
    fitting = [(asks, says) for asks, says in lengths if asks + says <= asked.max_length]
    if not fitting:
        raise InvalidRequest(
            f"Every example is longer than max_length, {asked.max_length} tokens; the shortest "
            f"has {min(map(sum, lengths))}. Raise max_length or shorten the examples.",
            code="invalid_training_file",
            param="training_file",
        )
    whole = count / len(lengths)
    rows = 2 if isinstance(asked, DpoHyperparameters) else 1  # as if both answers were the longer
    data = Data(
        examples=round(len(fitting) * whole),
        tokens=round(sum(map(sum, fitting)) * whole * rows),
        answer_tokens=round(sum(says for _, says in fitting) * whole * rows),
        longest=max(map(sum, fitting)),
    )
    if count > len(lengths):
        return Measured(data, "searches" if searches else "sample")
    return Measured(data, "all")


def _sample(
    trainer: Trainer, file: File, asked: Asked, size: int, seed: int
) -> tuple[list[Example], int]:
    """``size`` examples, each as likely as any (Vitter 1985, algorithm R), in the file's order; and
    how many there are. Every line is read, so that a wrong one is told here already."""
    dice, count = random.Random(seed), 0  # noqa: S311
    kept: list[Example] = []
    try:
        with trainer.store.open(file.key) as source:
            for example in examples_of(source, asked):
                count += 1
                if len(kept) < size:
                    kept.append(example)
                elif (place := dice.randrange(count)) < size:
                    kept[place] = example
    except InvalidTrainingFile as problem:
        raise InvalidRequest(
            str(problem), code="invalid_training_file", param="training_file"
        ) from problem
    except FileNotFoundError as gone:
        raise InvalidRequest(
            "The file's content is gone; upload it again.",
            code="file_not_found",
            param="training_file",
        ) from gone
    return sorted(kept, key=lambda example: example.line), count


async def _rendered(
    trainer: Trainer,
    asked: Asked,
    examples: Sequence[Example],
    seed: int,
) -> list[Rendered]:
    async with open_recipe(trainer.settings, asked, seed) as recipe:
        return await recipe.render(examples)
