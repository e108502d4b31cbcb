"""What may be measured: asked of the peers before an experiment is kept."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from services.common.contracts.arms import TuneAsk
from services.common.contracts.evaluator import ExperimentCreate
from services.common.contracts.judge import JudgeAsk
from services.common.contracts.trainer import FileObject
from services.common.errors import InvalidRequest, NotFound
from services.evaluator.estimating import Sized
from services.evaluator.judges.criteria import BUILT_IN
from services.evaluator.metrics import METRICS, SIMILARITY, Metric
from services.evaluator.metrics.judged import metrics_of
from services.evaluator.peers import Peers


@dataclass(frozen=True)
class Checked:
    """An experiment whose file, store, models and metrics are known to be there; ``sized`` where
    an estimate is needed."""

    ask: ExperimentCreate
    dataset_sha256: str
    sized: Sized | None = None


def is_adapter(model: str) -> bool:
    return model.startswith("ft:")


async def check(ask: ExperimentCreate, peers: Peers, *, embeds: bool = True) -> Checked:
    """Refuse what could only fail later, with a sentence that says what to do.

    ``embeds``: whether the service has an embedding model.
    """
    _check_metrics(ask)
    if ask.forgetting is not None and ask.forgetting.file_id is not None:
        await evals_file(ask.forgetting.file_id, peers, "forgetting.file_id")
    if SIMILARITY in ask.metrics and not embeds:
        raise InvalidRequest(
            f"This service has no model for '{SIMILARITY}': set "
            "FINEPROOF_EVALUATOR_EMBEDDING_MODEL, or take it out of metrics.",
            code="metric_unavailable",
            param="metrics",
        )
    file, _, _ = await asyncio.gather(
        evals_file(ask.dataset.file_id, peers, param="dataset.file_id"),
        _check_store(ask, peers),
        _check_models(ask, peers),
    )
    return Checked(ask=ask, dataset_sha256=file.sha256)


def _check_metrics(ask: ExperimentCreate) -> None:
    if ask.judge is not None:
        _check_judged(ask.judge)
    _check_able(ask.metrics, metrics_of(ask), "metrics")
    if ask.forgetting is not None:
        _check_able(ask.forgetting.metrics, METRICS, "forgetting.metrics")


def _check_able(names: Sequence[str], metrics: Mapping[str, Metric], param: str) -> None:
    able = [metric.name for metric in metrics.values() if metric.may_decide]
    for name in names:
        if name not in metrics:
            raise InvalidRequest(
                f"There is no metric '{name}'; these may decide: {', '.join(able)}.",
                code="unknown_metric",
                param=param,
            )
        if name not in able:
            raise InvalidRequest(
                f"'{name}' is always computed but cannot decide: it has no better side or no "
                f"scale. These may: {', '.join(able)}.",
                code="metric_cannot_decide",
                param=param,
            )


def _check_judged(judge: JudgeAsk) -> None:
    for rubric in judge.rubrics:
        if rubric.name in METRICS or rubric.name in BUILT_IN:
            raise InvalidRequest(
                f"'{rubric.name}' is a metric already; give the rubric a name of its own.",
                code="metric_exists",
                param="judge.rubrics",
            )
    able = [metric.name for metric in METRICS.values() if metric.may_decide]
    if judge.stand_in not in able:
        raise InvalidRequest(
            f"'{judge.stand_in}' cannot stand in for a judge; these may: {', '.join(able)}.",
            code="metric_cannot_decide",
            param="judge.stand_in",
        )


async def evals_file(file_id: str, peers: Peers, param: str = "dataset.file_id") -> FileObject:
    """A file with purpose ``evals``; ``param`` names it in a refusal."""
    try:
        file = await peers.trainer.file(file_id)
    except NotFound as error:
        raise InvalidRequest(
            f"There is no file '{file_id}'; upload one to /v1/files with purpose 'evals'.",
            code="file_not_found",
            param=param,
        ) from error
    if file.purpose != "evals":
        raise InvalidRequest(
            f"File '{file_id}' has purpose '{file.purpose}'; upload it with purpose 'evals'.",
            code="invalid_file_purpose",
            param=param,
        )
    return file


async def _check_store(ask: ExperimentCreate, peers: Peers) -> None:
    try:
        store = await peers.retriever.store(ask.vector_store_id)
    except NotFound as error:
        raise InvalidRequest(
            f"There is no vector store '{ask.vector_store_id}'; list them at /v1/vector_stores.",
            code="vector_store_not_found",
            param="vector_store_id",
        ) from error
    if set(ask.conditions) == {"closed_book"}:
        return
    if store.status == "in_progress":
        raise InvalidRequest(
            f"Vector store '{store.id}' is still taking in passages; wait until it is completed, "
            "or the questions would be asked of half of it.",
            code="vector_store_not_ready",
            param="vector_store_id",
        )
    if not store.passages:
        raise InvalidRequest(
            f"Vector store '{store.id}' holds no passages; ingest some, or ask for condition "
            "closed_book only.",
            code="vector_store_empty",
            param="vector_store_id",
        )


async def _check_models(ask: ExperimentCreate, peers: Peers) -> None:
    models = (await peers.generator.models()).data
    served = [model.id for model in models if not model.parent]
    if ask.judge is not None and ask.judge.model not in {model.id for model in models}:
        await _check_adapter(ask.judge.model, "judge.model", served, peers)
    for number, arm in enumerate(ask.arms):
        if arm.tune is not None:
            await _check_tune(arm.tune, f"arms.{number}.tune", served, peers)
        elif arm.model is not None and arm.model not in served:
            await _check_adapter(arm.model, f"arms.{number}.model", served, peers)


async def _check_adapter(model: str, param: str, served: list[str], peers: Peers) -> None:
    if not is_adapter(model):
        raise _not_served(model, param, served, ", an adapter or an alias, named 'ft:…'")
    with suppress(NotFound):
        await peers.trainer.adapter(model)
        return
    try:
        await peers.generator.alias(model)
    except NotFound as error:
        raise InvalidRequest(
            f"There is no adapter or alias '{model}'; list them at /v1/fine_tuning/adapters and "
            "/v1/adapters/aliases.",
            code="adapter_not_found",
            param=param,
        ) from error


async def _check_tune(tune: TuneAsk, param: str, served: list[str], peers: Peers) -> None:
    if tune.base_model not in served:
        raise _not_served(tune.base_model, f"{param}.base_model", served, "")
    if not tune.trains or tune.training_file is None:
        return
    try:
        file = await peers.trainer.file(tune.training_file)
    except NotFound as error:
        raise InvalidRequest(
            f"There is no file '{tune.training_file}'; upload one to /v1/files with purpose "
            "'fine-tune'.",
            code="file_not_found",
            param=f"{param}.training_file",
        ) from error
    if file.purpose != "fine-tune":
        raise InvalidRequest(
            f"File '{file.id}' has purpose '{file.purpose}'; upload it with purpose 'fine-tune'.",
            code="invalid_file_purpose",
            param=f"{param}.training_file",
        )


def _not_served(model: str, param: str, served: list[str], others: str) -> InvalidRequest:
    return InvalidRequest(
        f"Model '{model}' is not served; give a base model ({', '.join(served)}){others}.",
        code="model_not_found",
        param=param,
    )
