"""Python graders, run by a sandbox that the operator has put up; there is none of our own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common.clients.base import PeerClient
from services.common.errors import UpstreamFailed
from services.evaluator.evals.graders import Python
from services.evaluator.evals.grading.numbers import finite
from services.evaluator.evals.wording import Names


class Sandbox(PeerClient):
    """Reached at ``POST URL/grade`` with ``{source, image_tag, sample, item}``: the arguments of
    OpenAI's ``grade(sample, item)``. It answers ``{"score": number}``."""

    service = "python sandbox"

    async def grade(self, grader: Python, names: Names) -> float:
        """Raises what the sandbox answers, and ``unreadable_answer`` for what is no number."""
        asked = {
            "source": grader.source,
            "image_tag": grader.image_tag,
            "sample": names.get("sample"),
            "item": names["item"],
        }
        response = await self._call("POST", "/grade", safe=True, json=asked)
        try:
            score = finite(response.json()["score"])
        except (ValueError, KeyError, TypeError, RecursionError):
            score = None
        if score is None:
            raise UpstreamFailed("The sandbox said no score.", code="unreadable_answer")
        return score


@asynccontextmanager
async def sandbox_at(url: str | None) -> AsyncIterator[Sandbox | None]:
    """None where there is none."""
    if url is None:
        yield None
        return
    async with Sandbox.connect(url) as sandbox:
        yield sandbox
