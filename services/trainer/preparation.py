"""From a job's files to a run's folder: validated, rendered, and described."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.trainer import SupervisedHyperparameters
from services.common.prompts import TEMPLATE_SHA256
from services.common.storage import ArtifactStore
from services.trainer.examples import InvalidTrainingFile, batches, read_examples
from services.trainer.hyperparameters import resolve
from services.trainer.models import File, Job
from services.trainer.rendering import ClosedBook, Recipe, WithPassages
from services.trainer.settings import TrainerSettings
from services.trainer.training.config import Failure, RunConfig, RunFolder, write_whole

RENDER_BATCH = 200
PACKAGES = ("fineproof", "torch", "transformers", "peft", "trl", "accelerate")


class JobFailed(Exception):
    """The job cannot succeed, whoever tries again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True)
class Prepared:
    """What validation and rendering found: how many examples, and how many had no passages."""

    hyperparameters: SupervisedHyperparameters
    examples: int
    without_passages: int


@dataclass(frozen=True)
class _Rendering:
    sha256: str
    examples: int
    without_passages: int


@dataclass(frozen=True)
class Sources:
    """Where data comes from. ``going_on`` is called between batches, and raises when the job is no
    longer ours."""

    settings: TrainerSettings
    store: ArtifactStore
    going_on: Callable[[], None]


def prepare(shop: Sources, folder: RunFolder, job: Job, files: dict[str, File]) -> Prepared:
    """Fill ``folder`` with rendered prompts and ``config.json``; ``files`` are the job's, by id.

    Raises ``JobFailed``; the retriever's errors pass through.
    """
    asked = SupervisedHyperparameters.model_validate(job.method["supervised"]["hyperparameters"])
    folder.path.mkdir(parents=True, exist_ok=True)
    sources = [("training_file", job.training_file, folder.train)]
    if job.validation_file is not None:
        sources.append(("validation_file", job.validation_file, folder.valid))
    for param, file_id, _ in sources:
        _validate(shop, files.get(file_id), asked, param)
    train, *_ = [_render(shop, job, files[file_id], asked, path) for _, file_id, path in sources]
    without_passages = train.without_passages if asked.recipe == "rag" else 0
    if without_passages == train.examples:
        raise JobFailed(
            Failure(
                code="no_passages",
                message="The vector store returned no passage for any question; put passages into "
                "it before training on it.",
                param="method.supervised.hyperparameters.retrieval.vector_store_id",
            )
        )
    resolved = resolve(asked, train.examples)
    config = RunConfig(
        job_id=job.id,
        base_model=job.model,
        base_model_path=shop.settings.base_models[job.model],
        seed=job.seed,
        hyperparameters=resolved,
        micro_batch_tokens=shop.settings.micro_batch_tokens,
        dataset_sha256=files[job.training_file].sha256,
        train_sha256=train.sha256,
        template_sha256=TEMPLATE_SHA256,
        versions={package: version(package) for package in PACKAGES},
    )
    write_whole(folder.config, config.model_dump_json(indent=2) + "\n")
    return Prepared(resolved, train.examples, without_passages)


def _validate(
    shop: Sources, file: File | None, asked: SupervisedHyperparameters, param: str
) -> None:
    """Read the whole file once before anything is rendered. Raises ``JobFailed``."""
    try:
        if file is None:
            raise FileNotFoundError
        with shop.store.open(file.key) as source:
            for _ in batches(read_examples(source, asked.recipe), RENDER_BATCH):
                shop.going_on()
    except InvalidTrainingFile as problem:
        raise JobFailed(
            Failure(code=f"invalid_{param}", message=str(problem), param=param)
        ) from problem
    except FileNotFoundError as gone:
        raise JobFailed(
            Failure(
                code="file_not_found", message="The file is gone; upload it again.", param=param
            )
        ) from gone


def _render(
    shop: Sources, job: Job, file: File, asked: SupervisedHyperparameters, target: Path
) -> _Rendering:
    """Write one rendered prompt a line, and keep a copy in the store.

    What a retriever once returned is not asked again: a job that is taken up anew, here or on
    another host, trains on the same prompts.
    """
    key = f"jobs/{job.id}/{target.name}"
    if not target.exists():
        partial = target.with_suffix(".partial")
        if shop.store.exists(key):
            shop.store.fetch(key, partial)
        else:
            asyncio.run(_write(shop, job, file, asked, partial))
            shop.store.put(key, partial)
        partial.replace(target)
    return _described(target)


async def _write(
    shop: Sources, job: Job, file: File, asked: SupervisedHyperparameters, target: Path
) -> None:
    async with _recipe(shop.settings, asked, job.seed) as recipe:
        with shop.store.open(file.key) as source, target.open("w") as output:
            for batch in batches(read_examples(source, asked.recipe), RENDER_BATCH):
                shop.going_on()
                for rendered in await recipe.render(batch):
                    output.write(json.dumps(asdict(rendered)) + "\n")


@asynccontextmanager
async def _recipe(
    settings: TrainerSettings, asked: SupervisedHyperparameters, seed: int
) -> AsyncIterator[Recipe]:
    if asked.recipe == "qa" or asked.retrieval is None or settings.retriever_url is None:
        yield ClosedBook()
        return
    key = settings.service_key.get_secret_value() if settings.service_key else None
    async with RetrieverClient.connect(settings.retriever_url, key) as retriever:
        yield WithPassages(retriever, asked.retrieval, seed=seed)


def _described(path: Path) -> _Rendering:
    digest, examples, bare = hashlib.sha256(), 0, 0
    with path.open("rb") as file:
        for line in file:
            digest.update(line)
            examples += 1
            bare += json.loads(line)["passages"] == 0
    return _Rendering(digest.hexdigest(), examples, bare)
