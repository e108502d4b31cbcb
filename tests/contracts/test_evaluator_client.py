"""The evaluator's client against its real application."""

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest

from services.common.clients.evaluator import EvaluatorClient
from services.common.contracts.evaluator import AnswerRow, ExperimentCreate
from services.common.contracts.exam import ExamCreate, ExamplesCreate
from services.common.contracts.gate import GateCreate
from services.common.db import Database
from services.common.errors import Conflict, InvalidRequest, NotFound
from services.evaluator.judges.exam.runner import run_exam
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.conftest import Bench, serving, specification
from tests.services.evaluator.conftest import bench as bench
from tests.services.evaluator.conftest import db as db
from tests.services.evaluator.conftest import settings as settings
from tests.services.evaluator.conftest import world as world
from tests.services.evaluator.standins import connect
from tests.services.evaluator.world import BASE, World


@pytest.fixture
async def client(
    settings: EvaluatorSettings, db: Database, world: World
) -> AsyncIterator[EvaluatorClient]:
    async with serving(settings, world) as http:
        yield EvaluatorClient(http)


def ask() -> ExperimentCreate:
    return ExperimentCreate.model_validate(specification(conditions=["closed_book", "retrieved"]))


async def test_an_experiment_goes_from_the_asking_to_the_rows(
    client: EvaluatorClient, bench: Bench
) -> None:
    made = await client.create_experiment(ask())
    assert made.spec == ask()
    with pytest.raises(Conflict, match="completed"):
        await client.report(made.id)
    await bench.run(made.id)
    shown = await client.experiment(made.id)
    report = await client.report(made.id)
    assert shown.verdict == report.headline
    assert [one.id for one in (await client.experiments()).data] == [made.id]
    assert report.headline in await client.rendered_report(made.id, "html")
    assert (await client.rendered_report(made.id, "md")).startswith("# colours")
    gate = await client.decide_gate(made.id, GateCreate(arm="rag"))
    assert await client.gate(made.id, gate.id) == gate
    received = b""
    async with client.rows(made.id) as blocks:
        async for block in blocks:
            received += block
    rows = [AnswerRow.model_validate_json(line) for line in received.splitlines()]
    assert len(rows) == report.counts.answers
    assert {row.model for row in rows} == {arm.model for arm in report.arms}


async def test_what_the_application_refuses_comes_back_as_the_error_it_is(
    client: EvaluatorClient,
) -> None:
    with pytest.raises(NotFound, match="exp_none") as missing:
        await client.experiment("exp_none")
    assert missing.value.code == "experiment_not_found"
    with pytest.raises(InvalidRequest) as unknown:
        await client.create_experiment(ask().model_copy(update={"metrics": ["bleurt"]}))
    assert (unknown.value.code, unknown.value.param) == ("unknown_metric", "metrics")
    with pytest.raises(NotFound):
        async with client.rows("exp_none"):
            pass


async def test_an_exam_goes_from_the_asking_to_the_figures(
    client: EvaluatorClient, bench: Bench
) -> None:
    ask = ExamCreate(model=BASE, file_id="file_1", metrics=["accuracy"], runs=2)
    made = await client.create_exam(ask)
    assert made.spec == ask
    await run_exam(
        made.id, db=bench.db, settings=bench.settings, connect=partial(connect, bench.world)
    )
    done = await client.exam(made.id)
    assert done.status == "completed"
    assert [one.id for one in (await client.judges()).data] == [made.id]
    lines = await client.judge_examples(ExamplesCreate(file_id="file_1"))
    assert set(json.loads(lines.splitlines()[0])) == {"messages"}
