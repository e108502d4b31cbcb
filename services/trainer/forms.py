"""Multipart forms, as ``POST /v1/files`` and ``POST /v1/uploads/{id}/parts`` take them.

Parsed here and not by FastAPI, which would turn the refusal of a body over the limit, raised while
it is read, into a 400 without a reason.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from services.common.errors import InvalidRequest
from services.trainer.schemas import ExpiresAfter, IncomingFile

_EXPIRES_AFTER = {f"expires_after[{name}]": name for name in ExpiresAfter.model_fields}


async def get_incoming_file(request: Request) -> AsyncIterator[IncomingFile]:
    async with _form(request, "file", ("purpose", *_EXPIRES_AFTER)) as (file, fields):
        if "purpose" not in fields:
            raise _missing("purpose")
        yield IncomingFile(
            filename=file.filename or "",
            purpose=fields["purpose"],
            content=file.file,
            expires_after=_expires_after(fields),
        )


async def get_part(request: Request) -> AsyncIterator[BinaryIO]:
    async with _form(request, "data", ()) as (data, _):
        yield data.file


@asynccontextmanager
async def _form(
    request: Request, file: str, others: tuple[str, ...]
) -> AsyncIterator[tuple[UploadFile, dict[str, str]]]:
    """A form's one file, and its other fields: of ``others``, and text."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidRequest("Send the file as multipart/form-data.", code="invalid_form")
    async with request.form(max_files=1, max_fields=8) as form:
        fields: dict[str, str] = {}
        for name, value in form.items():
            if name not in (file, *others):
                raise InvalidRequest(
                    f"Unknown parameter: '{name[:64]}'. Remove it, or check its spelling.",
                    code="unknown_parameter",
                    param=name[:64],
                )
            if isinstance(value, str):
                fields[name] = value
            elif name != file:
                raise _missing(name)
        content = form.get(file)
        if not isinstance(content, UploadFile):
            raise _missing(file)
        yield content, fields


def _missing(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"The form needs a '{name}'.", code="missing_required_parameter", param=name
    )


def _expires_after(fields: dict[str, str]) -> int | None:
    given = {name: fields[key] for key, name in _EXPIRES_AFTER.items() if key in fields}
    try:
        return ExpiresAfter.model_validate(given).seconds if given else None
    except ValidationError as error:
        raise RequestValidationError(
            [each | {"loc": ("expires_after", *each["loc"])} for each in error.errors()]
        ) from error
