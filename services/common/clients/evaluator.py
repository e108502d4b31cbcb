"""The evaluator, as dashboards and the command line see it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from services.common.clients.base import PeerClient
from services.common.contracts.base import Page
from services.common.contracts.evaluator import Experiment, ExperimentCreate, Report


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

    async def report(self, experiment_id: str) -> Report:
        response = await self._call("GET", f"/v1/experiments/{experiment_id}/report")
        return Report.model_validate_json(response.content)

    async def rendered_report(self, experiment_id: str, form: Literal["md", "html"]) -> str:
        response = await self._call("GET", f"/v1/experiments/{experiment_id}/report.{form}")
        return response.text

    @asynccontextmanager
    async def rows(self, experiment_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """The per-answer rows as JSON lines, streamed in blocks of bytes."""
        async with self._stream("GET", f"/v1/experiments/{experiment_id}/rows") as response:
            yield response.aiter_bytes()
