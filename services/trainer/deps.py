"""What the trainer's routes are given."""

import re
from typing import Annotated, BinaryIO

from fastapi import Depends, Header, Query, Request

from services.common.app import CallerDep
from services.common.errors import InvalidRequest
from services.common.pagination import CursorDep
from services.trainer.context import Trainer
from services.trainer.forms import get_incoming_file, get_part
from services.trainer.schemas import IncomingFile
from services.trainer.service import EventStart, Origin

_METADATA = re.compile(r"metadata\[(.{1,64})\]", re.DOTALL)


def get_trainer(request: Request) -> Trainer:
    trainer: Trainer = request.app.state.trainer
    return trainer


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


def get_origin(
    caller: CallerDep,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Origin:
    return Origin(caller, idempotency_key)


def wants_stream(
    stream: bool | None = None, accept: Annotated[str, Header(max_length=1000)] = ""
) -> bool:
    return "text/event-stream" in accept if stream is None else stream


def get_event_start(
    cursor: CursorDep, last_event_id: Annotated[str | None, Header(max_length=200)] = None
) -> EventStart:
    """A browser that reconnects repeats its URL, ``after`` included, but has seen more since."""
    if last_event_id:
        return EventStart(last_event_id, "Last-Event-ID")
    return EventStart(cursor.after, "after")


TrainerDep = Annotated[Trainer, Depends(get_trainer)]
PartDep = Annotated[BinaryIO, Depends(get_part)]
IncomingFileDep = Annotated[IncomingFile, Depends(get_incoming_file)]
WantsStreamDep = Annotated[bool, Depends(wants_stream)]
EventStartDep = Annotated[EventStart, Depends(get_event_start)]
OriginDep = Annotated[Origin, Depends(get_origin)]
MetadataDep = Annotated[dict[str, str] | None, Depends(get_metadata)]
