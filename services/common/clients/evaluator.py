"""The evaluator, as dashboards and the command line see it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from services.common.clients.base import PeerClient
from services.common.contracts.base import Page
from services.common.contracts.budget import BudgetAsk, Estimate, ResumeAsk
from services.common.contracts.evaluator import Experiment, ExperimentCreate, Report
from services.common.contracts.events import ExperimentEvent
from services.common.contracts.exam import Exam, ExamCreate, ExamplesCreate
from services.common.contracts.flips import Flip, Outcome
from services.common.contracts.gate import Gate, GateCreate
from services.common.contracts.generator import Condition
from services.common.errors import RateLimited, Unavailable, UpstreamTimeout

_AWAY_TRIES = 8  # about half a minute


class EvaluatorClient(PeerClient):
    service = "evaluator"

    async def create_experiment(self, ask: ExperimentCreate) -> Experiment:
        response = await self._call(
            "POST", "/v1/experiments", json=ask.model_dump(mode="json", exclude_none=True)
        )
        return Experiment.model_validate_json(response.content)

    async def experiment(self, experiment_id: str) -> Experiment:
        response = await self._call("GET", f"/v1/experiments/{experiment_id}")
        return Experiment.model_validate_json(response.content)

    async def experiments(self, limit: int = 100) -> Page[Experiment]:
        response = await self._call("GET", "/v1/experiments", params={"limit": limit})
        return Page[Experiment].model_validate_json(response.content)

    async def estimate(self, ask: ExperimentCreate) -> Estimate:
        """Safe to repeat: it changes nothing."""
        response = await self._call(
            "POST",
            "/v1/experiments/estimate",
            safe=True,
            json=ask.model_dump(mode="json", exclude_none=True),
        )
        return Estimate.model_validate_json(response.content)

    async def resume(self, experiment_id: str, budget: BudgetAsk | None = None) -> Experiment:
        body = ResumeAsk(budget=budget).model_dump(mode="json", exclude_none=True)
        response = await self._call("POST", f"/v1/experiments/{experiment_id}/resume", json=body)
        return Experiment.model_validate_json(response.content)

    async def schema(self) -> dict[str, Any]:
        """JSON schema of an experiment's specification."""
        response = await self._call("GET", "/v1/experiments/schema")
        return dict(response.json())

    async def watch(
        self, experiment_id: str, after: str | None = None
    ) -> AsyncIterator[ExperimentEvent]:
        """What happens to it until it has ended, over a connection that breaks, too.

        Raises the last error once the evaluator was away for ``_AWAY_TRIES`` tries on end.
        """
        tries = 0
        while True:
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
            path = f"/v1/experiments/{experiment_id}/events"
            try:
                async with self._stream("GET", path, headers=headers) as response:
                    async for line in response.aiter_lines():
                        data = line.removeprefix("data: ")
                        if data == "[DONE]":
                            return
                        if data != line:
                            event = ExperimentEvent.model_validate_json(data)
                            after, tries = event.id, 0
                            yield event
            except (Unavailable, UpstreamTimeout, RateLimited):
                tries += 1
                if tries == _AWAY_TRIES:
                    raise
            await asyncio.sleep(min(0.25 * 2**tries, 5))

    async def report(self, experiment_id: str) -> Report:
        response = await self._call("GET", f"/v1/experiments/{experiment_id}/report")
        return Report.model_validate_json(response.content)

    async def decide_gate(self, experiment_id: str, ask: GateCreate) -> Gate:
        response = await self._call(
            "POST",
            f"/v1/experiments/{experiment_id}/gate",
            json=ask.model_dump(mode="json", exclude_none=True),
        )
        return Gate.model_validate_json(response.content)

    async def gate(self, experiment_id: str, gate_id: str) -> Gate:
        response = await self._call("GET", f"/v1/experiments/{experiment_id}/gates/{gate_id}")
        return Gate.model_validate_json(response.content)

    async def flips(
        self,
        experiment_id: str,
        *,
        arm: str | None = None,
        condition: Condition | None = None,
        metric: str | None = None,
        outcome: Outcome = "lost",
        after: str | None = None,
        limit: int = 20,
    ) -> Page[Flip]:
        asked = {
            "arm": arm,
            "condition": condition,
            "metric": metric,
            "outcome": outcome,
            "after": after,
            "limit": limit,
        }
        response = await self._call(
            "GET",
            f"/v1/experiments/{experiment_id}/flips",
            params={name: value for name, value in asked.items() if value is not None},
        )
        return Page[Flip].model_validate_json(response.content)

    async def create_exam(self, ask: ExamCreate) -> Exam:
        response = await self._call(
            "POST", "/v1/judges/exams", json=ask.model_dump(mode="json", exclude_none=True)
        )
        return Exam.model_validate_json(response.content)

    async def exam(self, exam_id: str) -> Exam:
        response = await self._call("GET", f"/v1/judges/exams/{exam_id}")
        return Exam.model_validate_json(response.content)

    async def judges(self, limit: int = 100) -> Page[Exam]:
        """Every judge that has sat an exam, as the last one it completed."""
        response = await self._call("GET", "/v1/judges", params={"limit": limit})
        return Page[Exam].model_validate_json(response.content)

    async def judge_examples(self, ask: ExamplesCreate) -> bytes:
        """Training examples for a judge, as JSON lines. Safe to repeat: it changes nothing."""
        response = await self._call(
            "POST",
            "/v1/judges/examples",
            safe=True,
            json=ask.model_dump(mode="json", exclude_none=True),
        )
        return response.content

    async def rendered_report(self, experiment_id: str, form: Literal["md", "html"]) -> str:
        response = await self._call("GET", f"/v1/experiments/{experiment_id}/report.{form}")
        return response.text

    @asynccontextmanager
    async def rows(self, experiment_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The per-answer rows as JSON lines, streamed in blocks of bytes."""
        async with self._stream("GET", f"/v1/experiments/{experiment_id}/rows") as response:
            yield response.aiter_bytes()
