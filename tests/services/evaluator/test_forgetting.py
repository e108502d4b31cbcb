"""The forgetting panel: general questions before and after tuning."""

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from services.common.contracts.evaluator import Report
from services.common.contracts.generator import RagAsk
from services.evaluator import panel
from services.evaluator.items import read_items
from tests.services.evaluator.conftest import BAD, GOOD, Bench, speak, specification


async def answers() -> dict[str, str]:
    items = await read_items(panel.lines(), most=1_000)
    return {item.question: item.answer for item in items}


async def test_the_default_panel_is_forty_questions_told_apart() -> None:
    items = await read_items(panel.lines(), most=1_000)
    assert len({item.question for item in items}) == len(items) == 40


@pytest.fixture
async def forgetful(bench: Bench) -> Bench:
    """``BAD`` has lost three of four of what everybody knows."""
    known = await answers()
    lost = set(list(known)[::4])

    def say(ask: RagAsk) -> str:
        if ask.question not in known:
            return speak(ask)
        knows = ask.model != BAD or ask.question in lost
        return f"It is {known[ask.question]}." if knows else "It is red."

    bench.world.speak = say
    return bench


async def test_an_arm_that_forgot_hurts_in_a_family_of_its_own(forgetful: Bench) -> None:
    forgetful.put(forgetting={})
    report = Report.model_validate((await forgetful.run()).report)
    assert report.forgetting is not None
    found = {c.arm: c for c in report.forgetting.comparisons}
    assert set(found) == {"qa", "rag"}
    assert (found["qa"].verdict, found["qa"].n) == ("HURTS", 40)
    assert (found["qa"].base, found["qa"].tuned) == (1.0, 0.25)
    assert found["rag"].diff == 0
    assert report.forgetting.panel == "general"
    assert [example.arm for example in report.forgetting.examples] == ["qa"] * 3
    # The declared family is no larger for it.
    assert sum(c.primary for c in report.comparisons) == 2 * 3 * 2
    actions = [remedy.action for remedy in report.remedies if remedy.arm == "qa"]
    assert "smaller_rank" in actions
    assert "forgetting" in report.timings
    for form in ("md", "html"):
        text = forgetful.artifacts.read_bytes(f"experiments/exp_1/report.{form}").decode()
        assert "What was forgotten" in text


async def test_a_panel_is_asked_once_whoever_stops_the_worker(forgetful: Bench) -> None:
    forgetful.world.delay = 0.01
    forgetful.put(forgetting={}, conditions=["closed_book"])
    turn = asyncio.create_task(forgetful.run())
    await forgetful.world.has_answered(36 * 3 + 50)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    report = Report.model_validate((await forgetful.run()).report)
    assert report.forgetting is not None
    answered = forgetful.world.answered
    asked = Counter({key: n for key, n in answered.items() if "colour is" not in key[0]})
    assert len(asked) == 40 * 3
    # What was under way when it was stopped may be asked again; nothing that was kept is.
    assert asked.total() <= 40 * 3 + 40


async def test_a_panel_of_one_s_own_is_a_file_of_test_items(bench: Bench) -> None:
    bench.put(
        arms=[{"name": "base", "model": "small-base"}, {"name": "rag", "model": GOOD}],
        conditions=["closed_book"],
        forgetting={"file_id": "file_1", "metrics": ["token_f1"]},
    )
    report = Report.model_validate((await bench.run()).report)
    assert report.forgetting is not None
    assert report.forgetting.items == len(bench.world.items)
    assert {c.metric for c in report.forgetting.comparisons} == {"token_f1"}


@pytest.mark.parametrize(
    ("forgetting", "code"),
    [
        ({"file_id": "file_none"}, "file_not_found"),
        ({"metrics": ["answer_length"]}, "metric_cannot_decide"),
        ({"metrics": ["no_such"]}, "unknown_metric"),
    ],
)
async def test_a_panel_that_cannot_be_is_refused(
    http: httpx.AsyncClient, forgetting: dict[str, Any], code: str
) -> None:
    said = await http.post("/v1/experiments", json=specification(forgetting=forgetting))
    assert said.status_code == 400
    assert said.json()["error"]["code"] == code
