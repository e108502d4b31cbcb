"""What may be kept as an eval or a run: looked at, and asked of the peers, before it is."""

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass

from services.common.errors import InvalidRequest, NotFound
from services.evaluator.checking import evals_file
from services.evaluator.evals import wording
from services.evaluator.evals.asking import find_served
from services.evaluator.evals.graders import (
    LabelModel,
    Multi,
    Python,
    ScoreModel,
    StringCheck,
    TextSimilarity,
)
from services.evaluator.evals.grading import formula
from services.evaluator.evals.grading.grades import AnyGrader
from services.evaluator.evals.item_schema import ItemSchema, schema_of
from services.evaluator.evals.items import ReadItem, check_lines, read_inline
from services.evaluator.evals.naming import graders_of, models_of
from services.evaluator.evals.schemas import (
    DataSourceConfig,
    EvalCreate,
    FileContent,
    FileId,
    ItemReference,
    JsonlSource,
    RunCreate,
    SampledSource,
)
from services.evaluator.peers import Peers
from services.evaluator.settings import EvaluatorSettings

READ_AT_ONCE = 4 * 2**20
"""Bytes of a file that is read through before its run is kept; larger ones the worker reads."""


@dataclass(frozen=True)
class CheckedRun:
    """``items`` are an inline source's."""

    ask: RunCreate
    items: list[ReadItem] | None


async def check_eval(ask: EvalCreate, peers: Peers, settings: EvaluatorSettings) -> EvalCreate:
    """Refuse what could only fail later, with a sentence that says what to do."""
    # In a thread, as all that reckons with a caller's schema: the event loop serves the others.
    await asyncio.to_thread(schema_of, ask.data_source_config)
    for grader in graders_of(ask.testing_criteria):
        _check_grader(grader, settings)
    await _check_models(models_of(ask.testing_criteria, None), peers, param="testing_criteria")
    return ask


def _check_grader(grader: AnyGrader, settings: EvaluatorSettings) -> None:
    where = f"Grader '{grader.name}'"
    match grader:
        case Python() if settings.python_sandbox_url is None:
            raise InvalidRequest(
                f"{where}: python graders run code, and no sandbox is configured for it here; "
                "say it with string_check, text_similarity, a model grader or multi.",
                code="python_grader_refused",
                param="testing_criteria",
            )
        case TextSimilarity(evaluation_metric="cosine") if settings.embedding_model is None:
            raise InvalidRequest(
                f"{where}: cosine needs an embedding model; the operator has to set "
                "FINEPROOF_EVALUATOR_EMBEDDING_MODEL.",
                code="no_embedding_model",
                param="testing_criteria",
            )
        case Multi():
            _check_parts(grader, where)
            formula.check(grader.calculate_output, list(grader.parts))
        case LabelModel() | ScoreModel():
            if isinstance(grader, ScoreModel):
                _check_range(grader, where)
            _check_templates((message.text for message in grader.input), where)
        case StringCheck() | TextSimilarity():
            _check_templates((grader.input, grader.reference), where)


def _check_parts(grader: Multi, where: str) -> None:
    names = [each.name for each in grader.graders] if isinstance(grader.graders, list) else []
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidRequest(
            f"{where}: two of its graders are named '{twice[0]}'; give each a name of its own.",
            code="invalid_value",
            param="testing_criteria",
        )


def _check_range(grader: ScoreModel, where: str) -> None:
    low, high = grader.bounds
    if not math.isfinite(high - low):
        raise InvalidRequest(
            f"{where}: its range is too wide; {high:g} less {low:g} is no number.",
            code="invalid_value",
            param="testing_criteria",
        )


def _check_templates(texts: Iterable[str], where: str) -> None:
    for text in texts:
        wording.check(text, allowed=("item", "sample"), where=where)


async def check_run(
    ask: RunCreate, config: DataSourceConfig, criteria: list[AnyGrader], peers: Peers
) -> CheckedRun:
    source = ask.data_source
    if not isinstance(source, JsonlSource):
        _check_messages(source)
    schema = await asyncio.to_thread(schema_of, config)
    items = None
    match source.source:
        case FileContent():
            items = await asyncio.to_thread(read_inline, source.source.content, schema)
        case FileId():
            await _check_file(source.source.id, schema, peers)
    await _check_models(models_of(criteria, source), peers, param="data_source.model")
    return CheckedRun(ask, items)


def _check_messages(source: SampledSource) -> None:
    asked = source.input_messages
    if not isinstance(asked, ItemReference):
        for message in asked.template:
            wording.check(message.text, allowed=("item",), where="input_messages")
    elif not wording.is_path(asked.item_reference, ("item",)):
        raise InvalidRequest(
            f"'{asked.item_reference[:100]}' names no part of the item; say where its messages "
            "are as in 'item.messages' or 'item.talks[0].messages', without braces.",
            code="invalid_template",
            param="data_source.input_messages.item_reference",
        )


async def _check_file(file_id: str, schema: ItemSchema, peers: Peers) -> None:
    file = await evals_file(file_id, peers, "data_source.source.id")
    if file.bytes <= READ_AT_ONCE:
        async with peers.trainer.file_lines(file_id) as stream:
            lines = [line async for line in stream]
        await asyncio.to_thread(check_lines, lines, schema)


async def _check_models(models: set[str], peers: Peers, *, param: str) -> None:
    for model in sorted(models):
        try:
            await find_served([model], peers, patience_s=0)
        except NotFound as error:
            raise InvalidRequest(
                f"There is no model '{model}'; GET /v1/models lists those that answer here.",
                code="model_not_found",
                param=param,
            ) from error
