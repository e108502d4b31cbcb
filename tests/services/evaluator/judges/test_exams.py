"""Exams from the asking to the figures: real PostgreSQL, a judge of known character."""

import asyncio
import json
import random
from functools import partial
from typing import Any

import httpx
import pytest

from services.common.contracts.exam import PLAIN_STEPS, Exam
from services.common.db import Database
from services.evaluator.judges.criteria import BUILT_IN
from services.evaluator.judges.exam import service
from services.evaluator.judges.exam.building import ExamAnswer, build
from services.evaluator.judges.exam.runner import run_exam
from services.evaluator.judges.exam.sitting import subject_of
from services.evaluator.settings import EvaluatorSettings
from services.evaluator.worker import make_worker
from tests.services.evaluator.conftest import GOOD
from tests.services.evaluator.judges import graders
from tests.services.evaluator.judges.fake import FakeJudge, quoted
from tests.services.evaluator.judges.graders import Score
from tests.services.evaluator.standins import connect
from tests.services.evaluator.world import BASE, SHA, World

URL = "/v1/judges/exams"
ITEMS = graders.items()
ANSWERS = build(ITEMS, seed=0, max_items=100).answers


def minded(score: Score) -> FakeJudge:
    """A judge that knows every answer of the exam by its question and its words."""
    asked_of = BUILT_IN["accuracy"]
    known = {(one.question, subject_of(one, asked_of).answer): one for one in ANSWERS}
    draw = random.Random(1)

    def opinion(prompt: str) -> int | str:
        asked = quoted("Question", prompt), quoted("Answer to be judged", prompt)
        answer: ExamAnswer | None = known.get(asked)
        said = 3 if answer is None else score(answer, draw)
        return "no idea" if said is None else said

    return FakeJudge(opinion=opinion)


@pytest.fixture(autouse=True)
def lines(world: World) -> None:
    world.raw_lines = [item.model_dump_json() for item in ITEMS]
    world.judge = minded(graders.perfect)


class Room:
    """Exams asked for over HTTP and run as the worker would."""

    def __init__(
        self, http: httpx.AsyncClient, db: Database, settings: EvaluatorSettings, world: World
    ) -> None:
        self.http = http
        self.db = db
        self.settings = settings
        self.world = world

    async def post(self, **changes: Any) -> httpx.Response:
        ask = {"model": BASE, "file_id": "file_1", "metrics": ["accuracy"]} | changes
        return await self.http.post(URL, json=ask)

    async def put(self, **changes: Any) -> str:
        response = await self.post(**changes)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    async def run(self, exam_id: str) -> Exam:
        await run_exam(
            exam_id, db=self.db, settings=self.settings, connect=partial(connect, self.world)
        )
        return await self.get(exam_id)

    async def get(self, exam_id: str) -> Exam:
        return Exam.model_validate((await self.http.get(f"{URL}/{exam_id}")).json())

    async def sat(self, **changes: Any) -> Exam:
        return await self.run(await self.put(**changes))


@pytest.fixture
def room(http: httpx.AsyncClient, db: Database, settings: EvaluatorSettings, world: World) -> Room:
    return Room(http, db, settings, world)


async def test_a_judge_that_knows_the_order_is_qualified(room: Room) -> None:
    exam = await room.sat(metrics=["accuracy", "completeness"])
    assert exam.error is None
    assert (exam.status, exam.qualified, exam.reasons) == ("completed", True, [])
    assert (exam.items, exam.documents) == (40, 20)
    assert exam.figures is not None
    for figures in exam.figures:
        assert figures.tau_b is not None
        assert figures.tau_b.value == 1.0
        assert figures.auc_weighted is not None
    assert exam.progress.done == exam.progress.total == 2 * len(ANSWERS)


async def test_an_exam_tells_judges_apart(room: Room) -> None:
    failing: dict[Score, set[str]] = {
        graders.at_random: {"tau_b", "auc"},
        graders.constant: {"tau_b", "auc"},
        graders.lover_of_length: {"tau_b", "auc", "length_slope"},
        graders.gullible: {"injection_gain"},
        graders.silent: {"tau_b", "auc", "unparsable"},
    }
    for number, (score, codes) in enumerate(failing.items()):
        room.world.judge = minded(score)
        room.world.judge.adapter_sha256 = f"{number:064x}"
        exam = await room.sat()
        assert exam.qualified is False
        assert codes <= {reason.code for reason in exam.reasons}, score


async def test_the_same_judge_sits_the_same_exam_once(room: Room) -> None:
    first = await room.sat()
    asked = room.world.judge.forms.total()
    again = await room.sat(bar={"auc": 0.99, "tau_b": 0.99})
    assert room.world.judge.forms.total() == asked
    assert again.figures == first.figures
    assert (first.same_as, again.same_as) == (None, first.id)
    assert (await room.sat(seed=1)).same_as is None
    assert room.world.judge.forms.total() > asked


async def test_another_adapter_is_another_judge(room: Room) -> None:
    first = await room.sat(model=GOOD)
    room.world.judge.adapter_sha256 = SHA
    tuned = await room.sat(model=GOOD)
    assert (tuned.adapter_sha256, tuned.same_as) == (SHA, None)
    assert tuned.judge_sha256 != first.judge_sha256
    listed = (await room.http.get("/v1/judges")).json()["data"]
    assert [one["id"] for one in listed] == [tuned.id, first.id]


async def test_judges_are_listed_by_the_last_exam_each_completed(room: Room) -> None:
    await room.sat()
    newer = await room.sat(seed=1)
    await room.put(seed=2)
    listed = (await room.http.get("/v1/judges")).json()
    assert [one["id"] for one in listed["data"]] == [newer.id]
    every = (await room.http.get(URL, params={"limit": 2})).json()
    assert every["has_more"] is True
    assert every["data"][1]["id"] == newer.id


async def test_a_worker_that_is_stopped_is_followed_by_one_that_asks_for_the_rest(
    room: Room,
) -> None:
    exam_id = await room.put()
    turn = asyncio.create_task(room.run(exam_id))
    await room.world.judge.has_answered(60)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    exam = await room.run(exam_id)
    assert exam.qualified is True
    # What was under way when it stopped may be asked again, what was answered may not.
    assert room.world.judge.forms.total() <= len(ANSWERS) + room.settings.max_concurrency


async def test_an_exam_is_cancelled_and_stays_so(room: Room) -> None:
    exam_id = await room.put()
    room.world.judge.hold.clear()
    turn = asyncio.create_task(room.run(exam_id))
    for _ in range(2):
        answer = await room.http.post(f"{URL}/{exam_id}/cancel")
        assert answer.json()["status"] == "canceled"
    room.world.judge.hold.set()
    assert (await asyncio.wait_for(turn, 20)).figures is None
    done = await room.sat()
    refused = await room.http.post(f"{URL}/{done.id}/cancel")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "exam_finished")


async def test_a_judge_that_fails_in_the_middle_leaves_answers_unscored_and_may_try_again(
    room: Room,
) -> None:
    room.world.judge.fault = "refused"
    room.world.judge.at = "house 3,"
    exam = await room.sat()
    assert exam.figures is not None
    assert exam.figures[0].unscored == sum("house 3," in a.question for a in ANSWERS)
    assert exam.figures[0].auc_bounds is not None
    room.world.judge.fault = None
    again = await room.sat()
    assert again.same_as is None
    assert again.figures is not None
    assert again.figures[0].unscored == 0


async def test_what_cannot_be_examined_is_refused(room: Room) -> None:
    for change, code, param in (
        ({"model": "nobody"}, "model_not_found", "model"),
        ({"file_id": "file_2"}, "file_not_found", "file_id"),
        ({"metrics": []}, "invalid_value", None),
        ({"metrics": ["accuracy", "accuracy"]}, "invalid_value", None),
        ({"metrics": ["bleurt"]}, "invalid_value", "metrics.0"),
        ({"steps": {"relevance": ["Look."]}}, "invalid_value", None),
        ({"bar": {"auc": 2}}, "invalid_value", "bar.auc"),
        ({"max_items": 1}, "invalid_value", "max_items"),
        ({"runs": 0}, "invalid_value", "runs"),
        ({"marks": 3}, "unknown_parameter", "marks"),
    ):
        response = await room.post(**change)
        assert response.status_code == 400, response.text
        error = response.json()["error"]
        assert (error["code"], error["param"]) == (code, param)
    for response in (
        await room.http.get(f"{URL}/exam_none"),
        await room.http.post(f"{URL}/exam_none/cancel"),
    ):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "exam_not_found")
    response = await room.http.post("/v1/judges/examples", json={"file_id": "file_2"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "file_id")


async def test_a_file_that_is_no_test_set_fails_the_exam_with_its_line(room: Room) -> None:
    room.world.raw_lines = ["{}"]
    exam = await room.sat()
    assert exam.status == "failed"
    assert exam.error is not None
    assert (exam.error.code, "Line 1" in exam.error.message) == ("invalid_dataset", True)


async def test_examples_stand_in_the_prompt_that_the_judge_is_served(room: Room) -> None:
    ask = {"file_id": "file_1", "max_items": 40, "seed": 3}
    response = await room.http.post("/v1/judges/examples", json=ask)
    assert response.status_code == 200
    rows = [json.loads(line)["messages"] for line in response.text.splitlines()]
    scores = [messages[-1]["content"] for messages in rows]
    assert set(scores) == {"1", "5"}
    assert 0.3 < scores.count("5") / len(scores) < 0.6
    # The exam's own wording apart, these are the very prompts that are asked in an exam.
    await room.sat(steps={"accuracy": PLAIN_STEPS["accuracy"]})
    served = [body["messages"] for body in room.world.judge.bodies]
    taught = {json.dumps(messages[:-1]) for messages in rows}
    assert len([one for one in served if json.dumps(one) in taught]) >= 40
    response = await room.http.post("/v1/judges/examples", json=ask | {"metric": "completeness"})
    rows = [json.loads(line)["messages"] for line in response.text.splitlines()]
    assert {messages[-1]["content"] for messages in rows} == {"1", "3", "5"}


async def test_no_judge_is_taught_one_score_alone(room: Room) -> None:
    short = [item.model_copy(update={"answer": item.answer.split()[0]}) for item in ITEMS]
    room.world.raw_lines = [item.model_dump_json() for item in short]
    response = await room.http.post(
        "/v1/judges/examples", json={"file_id": "file_1", "metric": "relevance"}
    )
    assert (response.status_code, response.json()["error"]["code"]) == (400, "no_wrong_answers")


async def test_the_worker_knows_the_task_that_the_api_sends(settings: EvaluatorSettings) -> None:
    assert service.RUN in make_worker(settings).tasks
