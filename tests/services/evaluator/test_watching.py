"""What happens to an experiment, told while it happens."""

import asyncio
from collections import Counter

import httpx
import pytest

from services.common import watching
from services.common.clients.evaluator import EvaluatorClient
from services.common.contracts.events import ExperimentEvent
from services.common.contracts.generator import RagAsk
from services.common.errors import FineproofError, InvalidRequest
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.conftest import DOCUMENTS, PER_DOCUMENT, Bench, serving
from tests.services.evaluator.world import World

URL = "/v1/experiments"
ITEMS = DOCUMENTS * PER_DOCUMENT


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.02)


async def watched(http: httpx.AsyncClient, after: str | None = None) -> list[ExperimentEvent]:
    headers = {"Last-Event-ID": after} if after else {}
    response = await http.get(f"{URL}/exp_1/events", headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    *frames, last, rest = response.text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    events = []
    for frame in frames:
        told = dict(line.split(": ", 1) for line in frame.splitlines())
        event = ExperimentEvent.model_validate_json(told["data"])
        assert (told["id"], told["event"]) == (event.id, event.type)
        events.append(event)
    return events


async def test_phases_progress_and_the_end_are_told_in_order_and_are_few(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    bench.put()
    report = (await bench.run()).report
    assert report is not None
    events = await watched(http)
    phases = [e.data["progress"]["phase"] for e in events if e.type == "phase"]
    assert phases[-4:] == ["proving", "retrieving", "answering", "measuring"]
    assert Counter(event.type for event in events)["progress"] <= 1
    assert events[-1].type == "done"
    assert events[-1].data == {
        "status": "completed",
        "verdict": report["headline"],
        "error": None,
    }
    assert [int(event.id) for event in events] == sorted(int(event.id) for event in events)


async def test_a_watcher_goes_on_after_the_last_event_seen(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    bench.put(conditions=["closed_book"])
    await bench.run()
    events = await watched(http)
    assert await watched(http, after=events[1].id) == events[2:]
    assert await watched(http, after=events[-1].id) == []


@pytest.mark.parametrize("strange", ["x", "-1", "1.5", "9" * 19, "²"])
async def test_what_is_the_id_of_no_event_is_refused(
    http: httpx.AsyncClient, bench: Bench, strange: str
) -> None:
    bench.put()
    refused = await http.get(f"{URL}/exp_1/events", params={"after": strange})
    assert refused.status_code == 400


async def test_unanswered_questions_are_warned_of_once_a_code_with_their_number(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    def refusal(ask: RagAsk) -> FineproofError | None:
        return InvalidRequest("Too long.", code="too_long") if "x0" in ask.question else None

    bench.world.refusal = refusal
    bench.put(conditions=["closed_book"])
    await bench.run()
    [warning] = [event for event in await watched(http) if event.type == "warning"]
    assert warning.data == {"code": "too_long", "count": DOCUMENTS * 3}


async def test_cancelling_and_going_on_are_told_and_the_end_is_the_last_one(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    bench.put(conditions=["closed_book"])
    await http.post(f"{URL}/exp_1/cancel")
    assert [event.data["status"] for event in await watched(http)] == ["canceled"]
    await http.post(f"{URL}/exp_1/resume")
    await bench.run()
    ends = [event.data["status"] for event in await watched(http) if event.type == "done"]
    assert ends == ["completed"]


async def test_a_client_sees_it_to_its_end_while_it_runs(
    settings: EvaluatorSettings, world: World, bench: Bench
) -> None:
    world.delay = 0.01
    bench.put(conditions=["closed_book"])
    async with serving(settings, world) as http:
        client = EvaluatorClient(http)
        turn = asyncio.create_task(bench.run())
        seen = [event async for event in client.watch("exp_1")]
        await turn
    assert seen[-1].type == "done"
    assert seen[-1].data["status"] == "completed"
    assert len({event.id for event in seen}) == len(seen)


def http_seats(http: httpx.AsyncClient) -> int:
    """Streams open in the application behind a client."""
    watchers = http._transport.app.state.watchers  # type: ignore[attr-defined]
    return int(watchers._seated)


async def test_streams_are_few_and_more_are_told_to_wait(
    settings: EvaluatorSettings, world: World, bench: Bench
) -> None:
    bench.put()
    few = settings.model_copy(update={"max_event_watchers": 1})
    async with serving(few, world) as http:
        first = asyncio.create_task(http.get(f"{URL}/exp_1/events"))
        await asyncio.sleep(0)
        while not http_seats(http):  # noqa: ASYNC110 - until the first has its seat
            await asyncio.sleep(0.01)
        refused = await http.get(f"{URL}/exp_1/events")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_watchers")
        await http.post(f"{URL}/exp_1/cancel")
        assert (await first).text.endswith("data: [DONE]\n\n")
