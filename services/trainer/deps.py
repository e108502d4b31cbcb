"""What the trainer's routes are given."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.datastructures import UploadFile

from services.common.errors import InvalidRequest
from services.trainer.schemas import Upload
from services.trainer.service import Trainer

_METADATA = re.compile(r"metadata\[(.{1,64})\]", re.DOTALL)


def get_trainer(request: Request) -> Trainer:
    trainer: Trainer = request.app.state.trainer
    return trainer


async def get_upload(request: Request) -> AsyncIterator[Upload]:
    """The multipart form of ``POST /v1/files``.

    Parsed here and not by FastAPI, which would turn the refusal of an upload over the limit, raised
    while the body is read, into a 400 without a reason.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise InvalidRequest("Send the file as multipart/form-data.", code="invalid_form")
    async with request.form(max_files=1, max_fields=8) as form:
        for name in form:
            if name not in ("file", "purpose"):
                raise InvalidRequest(
                    f"Unknown parameter: '{name[:64]}'. Remove it, or check its spelling.",
                    code="unknown_parameter",
                    param=name[:64],
                )
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile) or not isinstance(purpose, str):
            missing = "purpose" if isinstance(file, UploadFile) else "file"
            raise InvalidRequest(
                f"The form needs a '{missing}'.", code="missing_required_parameter", param=missing
            )
        yield Upload(filename=_plain(file.filename), purpose=purpose, content=file.file)


def _plain(filename: str | None) -> str:
    """The name alone, without folders or control characters; it is shown, never opened."""
    name = re.split(r"[/\\]", filename or "")[-1]
    return "".join(letter for letter in name if letter.isprintable())[:255] or "upload"


def get_metadata(
    request: Request, metadata: Annotated[str | None, Query(max_length=16)] = None
) -> dict[str, str] | None:
    """``metadata[k]=v`` pairs of the query; ``metadata=null`` asks for jobs without any."""
    if metadata is not None:
        if metadata != "null":
            raise InvalidRequest(
                "Filter by 'metadata[key]=value', or by 'metadata=null'.", param="metadata"
            )
        return {}
    pairs = {
        named[1]: value
        for key, value in request.query_params.items()
        if (named := _METADATA.fullmatch(key))
    }
    return pairs or None


TrainerDep = Annotated[Trainer, Depends(get_trainer)]
UploadDep = Annotated[Upload, Depends(get_upload)]
MetadataDep = Annotated[dict[str, str] | None, Depends(get_metadata)]
