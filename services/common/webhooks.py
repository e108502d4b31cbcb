"""Webhooks from an outbox: a row is written with what it tells of, and sent afterwards.

Signed as Standard Webhooks say (https://www.standardwebhooks.com), so that OpenAI's own client
accepts them. At least once: the ``webhook-id`` stays the same when one is sent again.
"""

import asyncio
import base64
import binascii
import json
import random
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, field_validator
from sqlalchemy import DateTime, String, Text, select
from sqlalchemy.orm import Mapped, Session, mapped_column
from standardwebhooks import Webhook

from services.common.db import Database
from services.common.ids import new_id
from services.common.leases import LEASE, Leased, claim, this_worker

log = structlog.get_logger(__name__)

# The whole of one attempt, well within the lease: nobody else sends it meanwhile.
PATIENCE = LEASE / 2
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=6)
GIVE_UP_AFTER = timedelta(hours=72)
"""OpenAI's own."""
AT_ONCE = 100


class Endpoint(BaseModel):
    """Where the operator wants to be told; each service says of which events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: HttpUrl = Field(description="Receives a POST for each event; names the endpoint.")
    secret: SecretStr = Field(description="Signs: `whsec_` and 24 to 64 bytes in base64.")
    events: frozenset[Any]

    @field_validator("secret")
    @classmethod
    def _usable(cls, secret: SecretStr) -> SecretStr:
        prefix, _, encoded = secret.get_secret_value().partition("_")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            key = b""
        if prefix != "whsec" or not 24 <= len(key) <= 64:
            raise ValueError("must be 'whsec_' and 24 to 64 random bytes in base64")
        return secret


class Outgoing(Leased):
    """Columns of one event for one endpoint. ``status`` is pending, delivered, failed; ``about``,
    which each table has, is the id of what it tells of."""

    about: Any

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    type: Mapped[str] = mapped_column(String(64))
    endpoint: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), index=True)
    next_attempt_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    answer: Mapped[str | None] = mapped_column(Text)


def announced(event: str, endpoints: Sequence[Endpoint]) -> list[dict[str, Any]]:
    """The values of the rows that tell of an event, one an endpoint that wants it."""
    moment = datetime.now(UTC)
    return [
        {
            "id": new_id("evt"),
            "created_at": moment,
            "type": event,
            "endpoint": str(each.url),
            "status": "pending",
            "next_attempt_at": moment,
        }
        for each in endpoints
        if event in each.events
    ]


def deliver(db: Database, table: Any, webhooks: Sequence[Endpoint]) -> None:
    """Send what is due in ``table``, side by side, and record what became of each."""
    owner = this_worker()
    endpoints = {str(each.url): each for each in webhooks}
    if not endpoints:
        return
    with db.transaction() as session:
        claimed = [
            row
            for row in _due(session, table, endpoints)
            if claim(session, table, row.id, owner=owner, statuses=("pending",))
        ]
    if not claimed:
        return
    for row_id, answer in asyncio.run(_send_all(claimed, endpoints)).items():
        with db.transaction() as session:
            row = session.scalar(select(table).where(table.id == row_id).with_for_update())
            if row is not None and row.lease_owner == owner:
                _record(row, answer)


def _due(session: Session, table: Any, endpoints: Collection[str]) -> Sequence[Any]:
    """Some for ``endpoints``; what is for others waits for a worker that knows their secret."""
    return session.scalars(
        select(table)
        .where(
            table.status == "pending",
            table.next_attempt_at <= datetime.now(UTC),
            table.endpoint.in_(endpoints),
        )
        .order_by(table.next_attempt_at)
        .limit(AT_ONCE)
        .with_for_update(skip_locked=True)
    ).all()


async def _send_all(
    deliveries: Sequence[Outgoing], endpoints: dict[str, Endpoint]
) -> dict[str, str]:
    async with httpx.AsyncClient(headers={"User-Agent": "fineproof"}) as http:
        answers = await asyncio.gather(
            *(_send(http, row, endpoints[row.endpoint]) for row in deliveries)
        )
    return {row.id: answer for row, answer in zip(deliveries, answers, strict=True)}


async def _send(http: httpx.AsyncClient, row: Outgoing, endpoint: Endpoint) -> str:
    """What the endpoint answered: its status, or why there is none."""
    body = payload(row)
    headers = {"Content-Type": "application/json"} | signature(row.id, body, endpoint)
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            # Its body is nobody's business, and may have no end.
            async with http.stream("POST", row.endpoint, content=body, headers=headers) as response:
                return str(response.status_code)
    except (httpx.HTTPError, TimeoutError) as error:
        return type(error).__name__


def payload(row: Outgoing) -> str:
    return json.dumps(
        {
            "id": row.id,
            "object": "event",
            "created_at": int(row.created_at.timestamp()),
            "type": row.type,
            "data": {"id": row.about},
        }
    )


def signature(event_id: str, body: str, endpoint: Endpoint) -> dict[str, str]:
    moment = datetime.now(UTC)
    signed = Webhook(endpoint.secret.get_secret_value()).sign(event_id, moment, body)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": signed,
    }


def _record(row: Outgoing, answer: str) -> None:
    moment = datetime.now(UTC)
    row.answer, row.lease_owner, row.lease_expires_at = answer, None, None
    row.next_attempt_at = moment + wait_after(row.attempts)
    if answer.startswith("2"):
        row.status = "delivered"
    elif row.next_attempt_at > row.created_at + GIVE_UP_AFTER:
        row.status = "failed"
    # The URL stays out of the log: it may carry a token.
    log.info("webhook", delivery=row.id, about=row.about, answer=answer, status=row.status)


def wait_after(attempts: int) -> timedelta:
    """Doubles with each attempt, and is spread so that what failed together does not come back
    together."""
    doubled = FIRST_WAIT * 2.0 ** min(attempts - 1, 20)
    return min(doubled, LONGEST_WAIT) * random.uniform(0.75, 1.25)  # noqa: S311 - no secret
