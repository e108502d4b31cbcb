"""What may be measured: asked of the peers before an experiment is kept."""

import asyncio
from dataclasses import dataclass

from services.common.contracts.evaluator import ExperimentCreate
from services.common.errors import InvalidRequest, NotFound
from services.evaluator.metrics import METRICS
from services.evaluator.peers import Peers


@dataclass(frozen=True)
class Checked:
    """An experiment whose file, store, models and metrics are known to be there."""

    ask: ExperimentCreate
    dataset_sha256: str


def is_adapter(model: str) -> bool:
    return model.startswith("ft:")


async def check(ask: ExperimentCreate, peers: Peers) -> Checked:
    """Refuse what could only fail later, with a sentence that says what to do."""
    _check_metrics(ask.metrics)
    sha256, _, _ = await asyncio.gather(
        _check_file(ask.dataset.file_id, peers),
        _check_store(ask, peers),
        _check_models(ask, peers),
    )
    return Checked(ask=ask, dataset_sha256=sha256)


def _check_metrics(names: list[str]) -> None:
    able = [metric.name for metric in METRICS.values() if metric.may_decide]
    for name in names:
        if name not in METRICS:
            raise InvalidRequest(
                f"There is no metric '{name}'; these may decide: {', '.join(able)}.",
                code="unknown_metric",
                param="metrics",
            )
        if name not in able:
            raise InvalidRequest(
                f"'{name}' is always computed but cannot decide: it has no better side or is not "
                f"on a scale from 0 to 1. These may: {', '.join(able)}.",
                code="metric_cannot_decide",
                param="metrics",
            )


async def _check_file(file_id: str, peers: Peers) -> str:
    try:
        file = await peers.trainer.file(file_id)
    except NotFound as error:
        raise InvalidRequest(
            f"There is no file '{file_id}'; upload one to /v1/files with purpose 'evals'.",
            code="file_not_found",
            param="dataset.file_id",
        ) from error
    if file.purpose != "evals":
        raise InvalidRequest(
            f"File '{file_id}' has purpose '{file.purpose}'; upload it with purpose 'evals'.",
            code="invalid_file_purpose",
            param="dataset.file_id",
        )
    return file.sha256


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
    served = [model.id for model in (await peers.generator.models()).data if not model.parent]
    for number, arm in enumerate(ask.arms):
        if arm.model in served:
            continue
        param = f"arms.{number}.model"
        if not is_adapter(arm.model):
            raise InvalidRequest(
                f"Model '{arm.model}' is not served; give a base model ({', '.join(served)}) or "
                "an adapter, named 'ft:…'.",
                code="model_not_found",
                param=param,
            )
        try:
            await peers.trainer.adapter(arm.model)
        except NotFound as error:
            raise InvalidRequest(
                f"There is no adapter '{arm.model}'; list them at /v1/fine_tuning/adapters.",
                code="adapter_not_found",
                param=param,
            ) from error
