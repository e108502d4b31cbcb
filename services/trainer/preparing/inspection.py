"""A job's files before anything is rendered: the form of every line, then what was asked to check.

Streamed, whatever the size, and twice: questions to other services are only asked of a file whose
every line can be used.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.contracts.trainer import Checks
from services.common.storage import ArtifactStore
from services.trainer.estimate import Asked
from services.trainer.hyperparameters import examples_of
from services.trainer.models import Device, File, Job
from services.trainer.preparing.checks import Check, Duplicates, StoreOverlap, TestOverlap
from services.trainer.preparing.examples import (
    MIN_EXAMPLES,
    BadLine,
    Example,
    InvalidTrainingFile,
    batches,
    numbered_lines,
    parse_line,
)
from services.trainer.preparing.facts import KnownFacts
from services.trainer.preparing.findings import Finding, JobFailed, Notes
from services.trainer.settings import TrainerSettings
from services.trainer.training.config import Failure, RunFolder

BATCH = 200


@dataclass(frozen=True)
class Sources:
    """Where data comes from, and the device it is for, where that is known. ``going_on`` is called
    between batches, and raises when the job is no longer ours."""

    settings: TrainerSettings
    store: ArtifactStore
    going_on: Callable[[], None]
    device: Device | None = None


def read_whole(shop: Sources, file: File | None, how: Asked, param: str) -> int:
    """Read every line once; gives the number of examples. Raises ``JobFailed``."""
    count = 0
    with _told_of(param), shop.store.open(_present(file, param).key) as source:
        for batch in batches(examples_of(source, how), BATCH):
            shop.going_on()
            count += len(batch)
    return count


async def inspect(
    shop: Sources, folder: RunFolder, job: Job, files: dict[str, File], notes: Notes
) -> list[Finding]:
    """Do the checks of ``job`` on its training file, whose every line can be used, and mark in
    ``notes`` what is to be left out. Raises ``JobFailed``; a peer's errors pass through."""
    asked = Checks.model_validate(job.checks)
    count = 0
    async with _checks(shop, folder, job, files, notes, asked) as checks:
        with shop.store.open(files[job.training_file].key) as source:
            for batch in batches(examples_of(source, job.hyperparameters), BATCH):
                shop.going_on()
                count += len(batch)
                for check in checks:
                    await check.look(batch)
        findings = [finding for check in checks for finding in check.findings()]
    dropped = notes.marked()
    if left_out := sum(dropped.values()):
        kinds = ", ".join(f"{number} {kind}" for kind, number in dropped.items())
        findings.append(
            Finding(
                message=f"{left_out} of {count} examples are left out as asked: {kinds}.",
                level="info",
                data={"check": "drop", "examples": count, **dropped},
            )
        )
    if count - left_out < MIN_EXAMPLES:
        raise JobFailed(
            Failure(
                code="invalid_training_file",
                message=f"{count - left_out} examples are left of {count}; at least {MIN_EXAMPLES} "
                "are needed. Drop less, or bring more.",
                param="checks.drop",
            )
        )
    return findings


@asynccontextmanager
async def _checks(
    shop: Sources,
    folder: RunFolder,
    job: Job,
    files: dict[str, File],
    notes: Notes,
    asked: Checks,
) -> AsyncIterator[list[Check]]:
    """Those that cost least first: what they leave out is not asked of anyone."""
    overlap = "overlap" in asked.drop
    checks: list[Check] = [Duplicates(notes, drop="duplicates" in asked.drop)]
    async with AsyncExitStack() as peers:
        if asked.test_file is not None:
            test = _present(files.get(asked.test_file), "checks.test_file")
            with _told_of("checks.test_file"), shop.store.open(test.key) as source:
                checks.append(TestOverlap(notes, _test_examples(source), drop=overlap))
        if asked.vector_store_id is not None and shop.settings.retriever_url:
            retriever = await peers.enter_async_context(
                RetrieverClient.connect(shop.settings.retriever_url, shop.settings.peer_key)
            )
            checks.append(StoreOverlap(notes, retriever, asked.vector_store_id, drop=overlap))
        if asked.known_facts and shop.settings.generator_url:
            generator = await peers.enter_async_context(
                GeneratorClient.connect(shop.settings.generator_url, shop.settings.peer_key)
            )
            remembered = peers.enter_context(closing(sqlite3.connect(folder.path / "facts.db")))
            checks.append(
                KnownFacts(notes, generator, remembered, model=job.model, drop=asked.drop)
            )
        yield checks


def _test_examples(source: Any) -> Iterator[Example]:
    """The questions of a test set; a line that holds none says which it is."""
    for line, raw in numbered_lines(source):
        try:
            yield parse_line(line, raw, "qa")
        except BadLine as problem:
            raise InvalidTrainingFile(f"Line {line} of the test set {problem}.") from problem


def _present(file: File | None, param: str) -> File:
    if file is None:
        raise _gone(param)
    return file


@contextmanager
def _told_of(param: str) -> Iterator[None]:
    """Turn what a file's reader raises into ``JobFailed`` about the field that names the file."""
    try:
        yield
    except InvalidTrainingFile as problem:
        code = f"invalid_{param.rpartition('.')[2]}"
        raise JobFailed(Failure(code=code, message=str(problem), param=param)) from problem
    except FileNotFoundError as gone:
        raise _gone(param) from gone


def _gone(param: str) -> JobFailed:
    return JobFailed(
        Failure(code="file_not_found", message="The file is gone; upload it again.", param=param)
    )
