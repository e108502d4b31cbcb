"""The rules of exports: which adapter may go where. The worker carries them out (``exporting``)."""

import re

from sqlalchemy.orm import Session

from services.common.contracts.base import Page
from services.common.contracts.trainer import ExportCreate, ExportRecord, UrlDestination
from services.common.errors import InvalidRequest, NotFound
from services.common.ids import new_id
from services.common.pagination import Cursor, to_page
from services.trainer import storage
from services.trainer.context import Trainer
from services.trainer.models import Export
from services.trainer.settings import TrainerSettings
from services.trainer.views import show_export

EXPORT = "trainer.export"

# No dots at the beginning of a segment, no percent signs, no "::" of chained file systems: what is
# compared with the operator's prefixes is what fsspec will open.
_PLAIN_URL = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._=@+-]*)+/?")


def create_export(
    session: Session, trainer: Trainer, name: str, ask: ExportCreate, caller: str
) -> ExportRecord:
    _adapter(session, name)
    if isinstance(ask.destination, UrlDestination):
        _check_url(trainer.settings, ask.destination.url)
    elif trainer.settings.huggingface_token is None:
        raise InvalidRequest(
            "This trainer holds no token for Hugging Face; its operator sets "
            "FINEPROOF_TRAINER_HUGGINGFACE_TOKEN.",
            code="export_not_configured",
            param="destination",
        )
    row = Export(
        id=new_id("export"),
        created_at=storage.now(),
        adapter_id=name,
        caller=caller,
        merge=ask.merge,
        destination=ask.destination.model_dump(),
        status="queued",
    )
    storage.add_all(session, [row])
    trainer.queue.enqueue(session, EXPORT, row.id)
    return show_export(row)


def list_exports(session: Session, name: str, cursor: Cursor) -> Page[ExportRecord]:
    _adapter(session, name)
    rows, has_more = storage.list_exports(session, name, cursor)
    return to_page([show_export(row) for row in rows], has_more)


def get_export(session: Session, name: str, export_id: str) -> ExportRecord:
    row = storage.get_export(session, export_id)
    if row is None or row.adapter_id != name:
        raise NotFound(f"'{name}' has no export '{export_id}'.", code="export_not_found")
    return show_export(row)


def _adapter(session: Session, name: str) -> None:
    if storage.get_adapter(session, name) is None:
        raise NotFound(f"There is no adapter '{name}' in the registry.", code="adapter_not_found")


def _check_url(settings: TrainerSettings, url: str) -> None:
    if not settings.export_urls:
        raise InvalidRequest(
            "This trainer exports to no URL; its operator lists those it may write under in "
            "FINEPROOF_TRAINER_EXPORT_URLS.",
            code="export_not_configured",
            param="destination.url",
        )
    if not _PLAIN_URL.fullmatch(url):
        raise InvalidRequest(
            "Give a plain URL such as 's3://bucket/folder': letters, digits and ._=@+- only, and "
            "no name in it that begins with a dot.",
            code="invalid_url",
            param="destination.url",
        )
    if not any(f"{url}/".startswith(f"{each.rstrip('/')}/") for each in settings.export_urls):
        raise InvalidRequest(
            "The URL is under none that this trainer may write to: "
            f"{', '.join(settings.export_urls)}.",
            code="url_not_allowed",
            param="destination.url",
        )
