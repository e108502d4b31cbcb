"""Arms that are declared by how they are made, and the jobs that make them."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from services.common.contracts.arms import ArmAsk, TuneAsk
from services.common.contracts.evaluator import ExperimentCreate, Report
from services.common.contracts.generator import RagAsk
from services.common.contracts.trainer import JobError
from services.evaluator import storage, tuning_storage
from services.evaluator.making import makings
from services.evaluator.phases.tuning import cancel_jobs
from tests.services.evaluator.conftest import GOOD, Bench, specification
from tests.services.evaluator.standins import connect
from tests.services.evaluator.world import BASE

PAIRS = [json.dumps({"id": n, "question": f"Q{n}?", "answer": f"A{n}"}) for n in range(100)]


@pytest.fixture
def training_file(bench: Bench) -> str:
    return bench.world.training.put("\n".join(PAIRS))


def made(name: str, file_id: str, **tune: Any) -> dict[str, Any]:
    return {"name": name, "tune": {"base_model": BASE, "training_file": file_id} | tune}


def arms(*others: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "base", "model": BASE}, *others]


async def has_jobs(bench: Bench, experiment_id: str, count: int) -> None:
    # Only the row tells what its worker has asked for.
    while len((await asyncio.to_thread(bench.find, experiment_id)).tunings) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_sizes_of_one_data_set_are_nested_samples_trained_once(
    bench: Bench, training_file: str
) -> None:
    sizes = [made(f"p{n}", training_file, pairs=n) for n in (0, 20, 50, 100)]
    bench.put(arms=arms(*sizes), conditions=["closed_book"])
    row = await bench.run()
    assert row.error is None
    report = Report.model_validate(row.report)
    training = bench.world.training
    samples = [training.files[job.training_file].splitlines() for job in training.jobs.values()]
    assert [len(sample) for sample in samples] == [20, 50, 100]
    assert samples[2][:50] == samples[1]
    assert samples[1][:20] == samples[0]
    assert set(samples[2]) == set(PAIRS)
    names = [job.fine_tuned_model for job in training.jobs.values()]
    assert [arm.model for arm in report.arms] == [BASE, BASE, *names]
    assert [arm.job_id for arm in report.arms] == [None, None, *training.jobs]
    assert "tuning" in report.timings


async def test_what_was_trained_for_one_experiment_is_found_by_the_next(
    bench: Bench, training_file: str
) -> None:
    for number in (1, 2):
        bench.put(
            f"exp_{number}",
            name=f"number {number}",
            arms=arms(made(f"arm{number}", training_file, pairs=20)),
            conditions=["closed_book"],
        )
        assert (await bench.run(f"exp_{number}")).error is None
    assert len(bench.world.training.jobs) == 1
    assert len(bench.world.training.files) == 2  # the whole file, and one sample of it


async def test_a_worker_that_was_killed_goes_on_with_the_jobs_it_had(
    bench: Bench, training_file: str
) -> None:
    bench.world.training.looks = 1_000_000
    bench.put(
        arms=arms(made("a", training_file, pairs=20), made("b", training_file)),
        conditions=["closed_book"],
    )
    turn = asyncio.create_task(bench.run())
    await has_jobs(bench, "exp_1", 2)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    row = bench.find()
    assert (row.status, row.phase) == ("in_progress", "tuning")
    bench.world.training.looks = 1
    assert (await bench.run()).status == "completed"
    assert len(bench.world.training.jobs) == 2


async def test_a_job_that_fails_fails_the_experiment_with_its_own_error(
    bench: Bench, training_file: str
) -> None:
    bench.world.training.ends = lambda _: JobError(code="invalid_training_file", message="Line 3.")
    bench.put(arms=arms(made("a", training_file)))
    row = await bench.run()
    assert row.error == {
        "code": "invalid_training_file",
        "message": "Job 'ftjob_0' of arm 'a' failed: Line 3.",
    }
    bench.world.training.ends = lambda _: None
    bench.put("exp_2", arms=arms(made("a", training_file)), conditions=["closed_book"])
    assert (await bench.run("exp_2")).status == "completed"
    assert len(bench.world.training.jobs) == 2


async def test_a_cancelled_experiment_cancels_what_no_other_waits_for(
    bench: Bench, training_file: str
) -> None:
    bench.world.training.looks = 1_000_000
    shared = made("shared", training_file)
    bench.put("exp_1", arms=arms(shared, made("own", training_file, seeds=[7])))
    bench.put("exp_2", arms=arms(shared))
    turns = [asyncio.create_task(bench.run(f"exp_{n}")) for n in (1, 2)]
    for name, count in (("exp_1", 2), ("exp_2", 1)):
        await has_jobs(bench, name, count)
    with bench.db.transaction() as session:
        assert storage.cancel(session, "exp_1")
    assert (await asyncio.wait_for(turns[0], 10)).status == "canceled"
    async with connect(bench.world, bench.settings) as peers:
        for _ in range(2):
            await cancel_jobs("exp_1", db=bench.db, peers=peers)
    status = {job.seed: job.status for job in bench.world.training.jobs.values()}
    assert status == {0: "running", 7: "cancelled"}
    assert all(entry["settled"] for entry in bench.find("exp_1").tunings)
    turns[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await turns[1]


async def test_a_cancelled_experiment_is_deleted_once_its_jobs_are_cancelled_too(
    bench: Bench, http: httpx.AsyncClient, training_file: str
) -> None:
    bench.world.training.looks = 10**6
    bench.put(arms=arms(made("p", training_file)))
    turn = asyncio.create_task(bench.run())
    await has_jobs(bench, "exp_1", 1)
    assert (await http.post("/v1/experiments/exp_1/cancel")).is_success
    await asyncio.wait_for(turn, 10)
    refused = await http.delete("/v1/experiments/exp_1")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "experiment_stopping")
    async with connect(bench.world, bench.settings) as peers:
        await cancel_jobs("exp_1", db=bench.db, peers=peers)
    assert {job.status for job in bench.world.training.jobs.values()} == {"cancelled"}
    assert (await http.delete("/v1/experiments/exp_1")).is_success


async def test_a_budget_of_minutes_that_is_spent_ends_what_is_training(
    bench: Bench, training_file: str
) -> None:
    training = bench.world.training
    training.looks = 10**6
    bench.put(arms=arms(made("p", training_file)), budget={"max_minutes": 1e-6})
    row = await bench.run()
    assert row.error is not None
    assert (row.phase, row.error["code"]) == ("tuning", "budget_exceeded")
    with bench.db.transaction() as session:
        assert list(tuning_storage.uncancelled(session)) == ["exp_1"]
    async with connect(bench.world, bench.settings) as peers:
        await cancel_jobs("exp_1", db=bench.db, peers=peers)
    assert {job.status for job in training.jobs.values()} == {"cancelled"}
    with bench.db.transaction() as session:
        assert list(tuning_storage.uncancelled(session)) == []


async def test_an_experiment_that_is_resumed_trains_anew_what_had_failed(
    bench: Bench, http: httpx.AsyncClient, training_file: str
) -> None:
    bench.world.training.ends = lambda _: JobError(code="out_of_memory", message="No memory.")
    bench.put(arms=arms(made("a", training_file)), conditions=["closed_book"])
    assert (await bench.run()).status == "failed"
    bench.world.training.ends = lambda _: None
    assert (await http.post("/v1/experiments/exp_1/resume")).status_code == 200
    assert (await bench.run()).status == "completed"
    assert [job.status for job in bench.world.training.jobs.values()] == ["failed", "succeeded"]


async def test_jobs_that_the_trainer_has_no_room_for_wait_their_turn(
    bench: Bench, training_file: str
) -> None:
    bench.world.training.room = 1
    bench.put(
        arms=arms(made("a", training_file), made("b", training_file, recipe="rag")),
        conditions=["closed_book"],
    )
    assert (await bench.run()).status == "completed"
    assert len(bench.world.training.jobs) == 2


async def test_more_pairs_than_the_file_holds_are_refused_in_a_sentence(
    bench: Bench, training_file: str
) -> None:
    bench.put(arms=arms(made("a", training_file, pairs=101)))
    row = await bench.run()
    assert row.error is not None
    assert row.error["code"] == "too_few_pairs"
    assert "holds 100" in row.error["message"]


async def test_an_alias_is_measured_as_the_adapter_it_stood_for_at_first(bench: Bench) -> None:
    name = "ft:small-base:production"
    bench.world.aliases[name] = GOOD
    asked: list[str] = []

    def speak(ask: RagAsk) -> str:
        asked.append(str(ask.model))
        bench.world.aliases[name] = "ft:small-base:other"
        return "red"

    bench.world.speak = speak
    bench.put(arms=arms({"name": "live", "model": name}), conditions=["closed_book"])
    report = Report.model_validate((await bench.run()).report)
    assert set(asked) == {BASE, GOOD}
    assert (report.arms[1].model, report.arms[1].alias) == (GOOD, name)


@pytest.mark.parametrize(
    ("arm", "code", "param"),
    [
        ({"model": "ft:none"}, "adapter_not_found", "arms.1.model"),
        ({"tune": {"base_model": "none", "training_file": "file_t0"}}, "model_not_found", "tune"),
        ({"tune": {"base_model": BASE, "training_file": "file_x"}}, "file_not_found", "tune"),
        ({"tune": {"base_model": BASE, "training_file": "file_1"}}, "invalid_file_purpose", "tune"),
        ({"tune": {"base_model": BASE}}, None, "arms"),
        ({"tune": {"base_model": BASE, "pairs": 0}, "model": BASE}, None, "arms"),
        ({}, None, "arms"),
    ],
)
async def test_what_cannot_be_made_is_refused_before_anything_is_trained(
    http: httpx.AsyncClient, arm: dict[str, Any], code: str | None, param: str
) -> None:
    asked = await http.post("/v1/experiments", json=specification(arms=arms({"name": "a"} | arm)))
    assert asked.status_code == 400
    error = asked.json()["error"]
    assert code in (None, error["code"])
    assert param in (error["param"] or error["message"])


async def test_an_alias_is_an_arm_that_is_taken(http: httpx.AsyncClient, world: Any) -> None:
    world.aliases["ft:small-base:production"] = GOOD
    asked = await http.post(
        "/v1/experiments",
        json=specification(arms=arms({"name": "live", "model": "ft:small-base:production"})),
    )
    assert asked.status_code == 201, asked.text


def test_a_definition_is_all_that_decides_what_becomes_of_an_adapter() -> None:
    def definition(arm: str = "a", sha256: str = "x", **tune: Any) -> str:
        ask = {"base_model": BASE, "training_file": "file_1"} | tune
        spec = ExperimentCreate.model_validate(specification(arms=arms({"name": arm, "tune": ask})))
        [making] = makings(spec, {str(ask["training_file"]): sha256})
        return making.definition

    same = definition()
    assert same == definition(arm="b") == definition(training_file="file_2")
    assert same == definition(sample_seed=3)  # a whole file is not drawn
    assert same == definition(hyperparameters={"torch_compile": True})  # only faster
    others = [
        definition(sha256="y"),
        definition(pairs=10),
        definition(pairs=10, sample_seed=3),
        definition(recipe="rag"),
        definition(seeds=[1]),
        definition(hyperparameters={"n_epochs": 3}),
    ]
    assert len({same, *others}) == 7


def test_recipe_rag_reads_the_store_of_the_experiment() -> None:
    spec = ExperimentCreate.model_validate(
        specification(
            arms=arms(made("rag", "file_1", recipe="rag"), made("qa", "file_1")),
            retrieval={"max_num_results": 5},
        )
    )
    rag, qa = makings(spec, {"file_1": "x"})
    assert rag.hyperparameters.retrieval is not None
    assert rag.hyperparameters.retrieval.vector_store_id == "vs_1"
    assert rag.hyperparameters.retrieval.max_num_results == 5
    assert qa.hyperparameters.retrieval is None


def test_a_recipe_may_stand_at_either_place_but_not_differ() -> None:
    inner = TuneAsk(base_model=BASE, pairs=0, hyperparameters={"recipe": "raft"})
    outer = TuneAsk(base_model=BASE, pairs=0, recipe="raft")
    assert inner.recipe == outer.hyperparameters.recipe == "raft"
    assert TuneAsk.model_validate(outer.model_dump()) == outer
    with pytest.raises(ValidationError, match="differ"):
        TuneAsk.model_validate(
            {"base_model": BASE, "pairs": 0, "recipe": "qa", "hyperparameters": {"recipe": "rag"}}
        )


def test_an_arm_is_named_or_made() -> None:
    with pytest.raises(ValidationError, match="model or tune"):
        ArmAsk(name="a")
