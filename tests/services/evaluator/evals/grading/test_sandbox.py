"""Python graders at a sandbox that somebody else runs."""

import json
from typing import Any

import httpx
import pytest

from services.common.errors import FineproofError
from services.evaluator.evals.graders import Python
from services.evaluator.evals.grading.sandbox import Sandbox, sandbox_at

GRADER = Python(type="python", name="p", source="def grade(sample, item): return 1")
NAMES = {"item": {"a": 1}, "sample": {"output_text": "b"}}


async def graded(answer: Any, status: int = 200) -> float:
    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/box/grade"
        asked = json.loads(request.content)
        assert asked == {"source": GRADER.source, "image_tag": None, **NAMES}
        return httpx.Response(status, content=answer)

    transport = httpx.MockTransport(handle)
    async with httpx.AsyncClient(transport=transport, base_url="http://sandbox/box") as http:
        return await Sandbox(http, attempts=1).grade(GRADER, NAMES)


async def test_the_sandbox_is_given_what_openai_gives_and_says_the_score() -> None:
    assert await graded('{"score": 0.25}') == 0.25


@pytest.mark.parametrize(
    "answer",
    [
        '{"score": "1"}',
        '{"score": true}',
        '{"score": NaN}',
        '{"score": 1' + "0" * 400 + "}",
        "[]",
        "{}",
        "no",
        "[" * 99_999,
    ],
)
async def test_what_is_no_score_is_none(answer: str) -> None:
    with pytest.raises(FineproofError) as refusal:
        await graded(answer)
    assert refusal.value.code == "unreadable_answer"


async def test_a_sandbox_that_fails_is_an_error_and_not_a_zero() -> None:
    with pytest.raises(FineproofError):
        await graded("oops", 500)


async def test_without_a_url_there_is_none() -> None:
    async with sandbox_at(None) as sandbox:
        assert sandbox is None
