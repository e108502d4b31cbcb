"""From a job's files to a run's folder: validated, rendered, and described."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel

from services.common.prompts import TEMPLATE_SHA256
from services.trainer.estimate import Asked, Data, refusal
from services.trainer.hyperparameters import examples_of, recipe_of, resolve
from services.trainer.models import File, Job
from services.trainer.preparing.examples import NAMED_LINES, batches
from services.trainer.preparing.findings import Finding, JobFailed, Notes
from services.trainer.preparing.inspection import Sources, inspect, read_whole
from services.trainer.preparing.recipes import open_recipe
from services.trainer.preparing.rendering import Rendered, lengths_of
from services.trainer.preparing.tokens import TemplateRefuses, TokenCounter, token_counter
from services.trainer.training.config import Failure, RunConfig, RunFolder, write_whole

RENDER_BATCH = 200
STORE_PARAM = "method.supervised.hyperparameters.retrieval.vector_store_id"
PACKAGES = ("fineproof", "torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes")


@dataclass(frozen=True)
class Prepared:
    hyperparameters: Asked
    examples: int
    findings: list[Finding]


class Rendering(BaseModel):
    """What rendering a file found; kept beside it, and in the store.

    ``examples`` and tokens are of the prompts that were written, with their answers, ``longest`` is
    in tokens; ``too_long`` were left out, and the first of their lines are named.
    """

    sha256: str
    examples: int = 0
    tokens: int = 0
    answer_tokens: int = 0
    longest: int = 0
    shortest: int = 0
    too_long: int = 0
    too_long_lines: list[int] = []
    without_passages: int = 0
    without_gold: int = 0
    findings: list[Finding] = []


def prepare(shop: Sources, folder: RunFolder, job: Job, files: dict[str, File]) -> Prepared:
    """Fill ``folder`` with rendered prompts and ``config.json``; ``files`` are the job's, by id.

    Raises ``JobFailed``; the retriever's errors pass through.
    """
    asked = job.hyperparameters
    folder.path.mkdir(parents=True, exist_ok=True)
    train, *valid = asyncio.run(_rendered(shop, folder, job, files, asked))
    findings = train.findings + _lengths_found(train, asked.max_length)
    if recipe_of(asked) in ("rag", "raft"):
        findings += _passages_found(train)
    resolved = resolve(asked, train.examples)
    _must_fit(shop, job, train, resolved)
    config = RunConfig(
        job_id=job.id,
        base_model=job.model,
        base_model_path=shop.settings.base_models[job.model],
        seed=job.seed,
        hyperparameters=resolved,
        micro_batch_tokens=shop.settings.micro_batch_tokens,
        micro_batch_halvings=job.micro_batch_halvings,
        integrations=job.integrations,
        dataset_sha256=files[job.training_file].sha256,
        train_sha256=train.sha256,
        valid_sha256=valid[0].sha256 if valid else None,
        template_sha256=TEMPLATE_SHA256,
        versions={package: version(package) for package in PACKAGES},
    )
    write_whole(folder.config, config.model_dump_json(indent=2) + "\n")
    return Prepared(resolved, train.examples, findings)


def _must_fit(shop: Sources, job: Job, train: Rendering, resolved: Asked) -> None:
    """Raises ``JobFailed`` before a device is kept busy with what cannot end well."""
    if shop.device is None:
        return
    data = Data(train.examples, train.tokens, train.answer_tokens, train.longest)
    base = shop.settings.base_models[job.model]
    if reason := refusal(base, resolved, data, shop.device, shop.settings.micro_batch_tokens):
        raise JobFailed(Failure(code="does_not_fit", message=reason, param="method"))


def _passages_found(train: Rendering) -> list[Finding]:
    """Raises ``JobFailed`` where the store gave nothing to train on."""
    if train.without_passages == train.examples:
        raise JobFailed(
            Failure(
                code="no_passages",
                message="The vector store returned no passage for any question; put passages into "
                "it before training on it.",
                param=STORE_PARAM,
            )
        )
    if train.without_gold == train.examples:
        raise JobFailed(
            Failure(
                code="no_gold_passages",
                message="The vector store holds none of the passages that 'evidence_ids' name; is "
                "it the store of this data?",
                param=STORE_PARAM,
            )
        )
    findings = []
    if train.without_passages:
        findings.append(
            Finding(
                message=f"{train.without_passages} of {train.examples} prompts have no passages: "
                "the retriever returned none."
            )
        )
    if train.without_gold:
        findings.append(
            Finding(
                message=f"{train.without_gold} of {train.examples} prompts lack their answer: the "
                "vector store holds none of the passages that their 'evidence_ids' name."
            )
        )
    return findings


async def _rendered(
    shop: Sources,
    folder: RunFolder,
    job: Job,
    files: dict[str, File],
    asked: Asked,
) -> list[Rendering]:
    """The prompts of the training file, and of the validation file where there is one.

    What a retriever once returned is not asked again: a job that is taken up anew, here or on
    another host, trains on the same prompts.
    """
    wanted = [("training_file", job.training_file, folder.train)]
    if job.validation_file is not None:
        wanted.append(("validation_file", job.validation_file, folder.valid))
    if not all(_fetch(shop, job, path) for *_, path in wanted):
        for param, file_id, _ in wanted:
            read_whole(shop, files.get(file_id), asked, param)
        with closing(Notes()) as notes:
            findings = await inspect(shop, folder, job, files, notes)
            for param, file_id, path in wanted:
                if not path.exists():
                    told, skips = (
                        (findings, notes.is_marked) if param == "training_file" else ([], _none)
                    )
                    await _write(shop, job, files[file_id], asked, path, told, skips)
    return [Rendering.model_validate_json(_described(path).read_bytes()) for *_, path in wanted]


def _described(prompts: Path) -> Path:
    return prompts.with_suffix(".json")


def _fetch(shop: Sources, job: Job, target: Path) -> bool:
    """Whether ``target`` was written before, here or on another host."""
    if target.exists():
        return True
    if not shop.store.exists(_key(job, target)):
        return False
    for path in (_described(target), target):
        partial = path.with_name(f"{path.name}.partial")
        shop.store.fetch(_key(job, path), partial)
        partial.replace(path)
    return True


def _key(job: Job, path: Path) -> str:
    return f"jobs/{job.id}/{path.name}"


def _none(_line: int) -> bool:
    return False


async def _write(
    shop: Sources,
    job: Job,
    file: File,
    asked: Asked,
    target: Path,
    findings: list[Finding],
    skips: Callable[[int], bool],
) -> None:
    """One rendered prompt a line, and what was found in writing them; the prompts come last."""
    counter = token_counter(shop.settings.base_models[job.model])
    digest = hashlib.sha256()
    found = Rendering(sha256="", findings=findings)
    partial = target.with_name(f"{target.name}.partial")
    async with open_recipe(shop.settings, asked, job.seed) as recipe:
        with shop.store.open(file.key) as source, partial.open("wb") as output:
            for batch in batches(
                examples_of(source, asked),
                RENDER_BATCH,
            ):
                shop.going_on()
                rendered = await recipe.render([each for each in batch if not skips(each.line)])
                for prompt, lengths in zip(rendered, _lengths(counter, rendered), strict=True):
                    if _count(found, prompt, *lengths, max_length=asked.max_length):
                        line = json.dumps(asdict(prompt)).encode() + b"\n"
                        digest.update(line)
                        output.write(line)
    found.sha256 = digest.hexdigest()
    write_whole(_described(target), found.model_dump_json())
    shop.store.put(_key(job, _described(target)), _described(target))
    shop.store.put(_key(job, target), partial)
    partial.replace(target)


def _lengths(counter: TokenCounter, rendered: Sequence[Rendered]) -> list[tuple[int, int]]:
    try:
        return lengths_of(rendered, counter)
    except TemplateRefuses as refused:
        raise JobFailed(
            Failure(
                code="invalid_training_file",
                message=f"The base model's chat template refuses an example in lines "
                f"{rendered[0].line} to {rendered[-1].line}: {refused}.",
                param="training_file",
            )
        ) from refused


def _count(found: Rendering, prompt: Rendered, asks: int, answers: int, *, max_length: int) -> bool:
    """Add one prompt, of ``asks`` and ``answers`` tokens, to what was found; False when it is too
    long to be trained on."""
    tokens = asks + answers
    found.shortest = min(found.shortest or tokens, tokens)
    if tokens > max_length:
        found.too_long += 1
        if len(found.too_long_lines) < NAMED_LINES:
            found.too_long_lines.append(prompt.line)
        return False
    found.examples += 1
    found.tokens += tokens
    found.answer_tokens += answers
    found.longest = max(found.longest, tokens)
    found.without_passages += prompt.passages == 0
    found.without_gold += prompt.lacks_gold
    return True


def _lengths_found(train: Rendering, max_length: int) -> list[Finding]:
    """Raises ``JobFailed`` where no example fits: a cut one would teach to stop in mid-sentence."""
    if train.examples == 0:
        raise JobFailed(
            Failure(
                code="invalid_training_file",
                message=f"Every example is longer than max_length, {max_length} tokens; the "
                f"shortest has {train.shortest}. Raise max_length or shorten the examples.",
                param="training_file",
            )
        )
    if not train.too_long:
        return []
    lines = ", ".join(map(str, train.too_long_lines))
    more = ", …" if train.too_long > len(train.too_long_lines) else ""
    return [
        Finding(
            message=f"{train.too_long} of {train.examples + train.too_long} examples are longer "
            f"than max_length, {max_length} tokens, and are left out (lines {lines}{more}).",
            data={"check": "max_length", "too_long": train.too_long, "examples": train.examples},
        )
    ]
