"""The trainer, as its peers and the command line see it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.common.clients.base import PeerClient, lines_of
from services.common.contracts.base import Page
from services.common.contracts.trainer import (
    AdapterRecord,
    FileObject,
    FineTuningJob,
    FineTuningJobCreate,
    JobEvent,
    Purpose,
)


class TrainerClient(PeerClient):
    service = "trainer"

    async def upload_file(self, path: Path, purpose: Purpose) -> FileObject:
        with path.open("rb") as source:
            response = await self._call(
                "POST",
                "/v1/files",
                data={"purpose": purpose},
                files={"file": (path.name, source, "application/jsonl")},
            )
        return FileObject.model_validate_json(response.content)

    async def file(self, file_id: str) -> FileObject:
        response = await self._call("GET", f"/v1/files/{file_id}")
        return FileObject.model_validate_json(response.content)

    @asynccontextmanager
    async def file_lines(self, file_id: str) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of a stored file, streamed."""
        async with self._stream("GET", f"/v1/files/{file_id}/content") as response:
            yield lines_of(response.aiter_bytes())

    @asynccontextmanager
    async def file_content(self, file_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """A stored file's bytes, streamed."""
        async with self._stream("GET", f"/v1/files/{file_id}/content") as response:
            yield response.aiter_bytes()

    async def create_job(
        self, ask: FineTuningJobCreate, *, key: str | None = None
    ) -> FineTuningJob:
        """Asked again with the same ``key`` it is the same job, so that it is safe to repeat."""
        response = await self._call(
            "POST",
            "/v1/fine_tuning/jobs",
            safe=key is not None,
            headers={"Idempotency-Key": key} if key is not None else {},
            json=ask.model_dump(mode="json", exclude_none=True),
        )
        return FineTuningJob.model_validate_json(response.content)

    async def cancel_job(self, job_id: str) -> FineTuningJob:
        """Safe to repeat; ``Conflict`` when the job has ended otherwise."""
        response = await self._call("POST", f"/v1/fine_tuning/jobs/{job_id}/cancel", safe=True)
        return FineTuningJob.model_validate_json(response.content)

    async def job(self, job_id: str) -> FineTuningJob:
        response = await self._call("GET", f"/v1/fine_tuning/jobs/{job_id}")
        return FineTuningJob.model_validate_json(response.content)

    async def jobs(self, limit: int = 100) -> Page[FineTuningJob]:
        response = await self._call("GET", "/v1/fine_tuning/jobs", params={"limit": limit})
        return Page[FineTuningJob].model_validate_json(response.content)

    async def events(
        self, job_id: str, *, after: str | None = None, limit: int = 1000
    ) -> Page[JobEvent]:
        """Events oldest first."""
        params = {"limit": str(limit), "order": "asc"} | ({"after": after} if after else {})
        response = await self._call("GET", f"/v1/fine_tuning/jobs/{job_id}/events", params=params)
        return Page[JobEvent].model_validate_json(response.content)

    async def adapter(self, name: str) -> AdapterRecord:
        """The registry's record; ``NotFound`` when no job ended in that name."""
        response = await self._call("GET", f"/v1/fine_tuning/adapters/{name}")
        return AdapterRecord.model_validate_json(response.content)

    async def adapters(self, limit: int = 100) -> Page[AdapterRecord]:
        response = await self._call("GET", "/v1/fine_tuning/adapters", params={"limit": limit})
        return Page[AdapterRecord].model_validate_json(response.content)
