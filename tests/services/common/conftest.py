"""A small real service, built the way the four are, with one table of long work."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry
from pydantic import Field
from sqlalchemy import String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.common.app import SessionDep, create_service
from services.common.contracts.base import Ask
from services.common.db import Database, service_metadata
from services.common.errors import Conflict, FineproofError
from services.common.leases import Leased
from services.common.line import Line, LineMetrics, Overloaded
from services.common.settings import ServiceSettings


class Base(DeclarativeBase):
    metadata = service_metadata("floor")


class Work(Leased, Base):
    __tablename__ = "work"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    status: Mapped[str] = mapped_column(String(20), default="queued")


class Note(Ask):
    text: str
    size: int = Field(1, ge=1)


router = APIRouter(prefix="/v1/notes")


@router.post("")
def write_note(note: Note, session: SessionDep) -> dict[str, str]:
    session.add(Work(id=note.text))
    session.flush()
    if note.text == "clash":
        raise Conflict("There is one already.")
    if note.text == "bug":
        raise RuntimeError("secret detail")
    return {"text": note.text}


@router.post("/search")
def search_notes() -> dict[str, str]:
    return {}


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(
        "from services.common.db import run_migrations, service_metadata\n"
        "run_migrations(service_metadata('floor'))\n"
    )
    (folder / "versions" / "0001_work.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        "revision, down_revision = '0001', None\n"
        "def upgrade():\n"
        "    op.create_table('work',\n"
        "        sa.Column('id', sa.String(64), primary_key=True),\n"
        "        sa.Column('status', sa.String(20), nullable=False),\n"
        "        sa.Column('lease_owner', sa.String(200)),\n"
        "        sa.Column('lease_expires_at', sa.DateTime(timezone=True)),\n"
        "        sa.Column('attempts', sa.Integer, nullable=False),\n"
        "        schema='floor')\n"
    )
    return folder


@pytest.fixture
def build(migrations: Path):  # type: ignore[no-untyped-def]
    def build_app(settings: ServiceSettings) -> FastAPI:
        @asynccontextmanager
        async def resources(_: FastAPI) -> AsyncIterator[None]:
            yield

        return create_service(
            "floor",
            settings,
            routers=[router],
            migrations=migrations,
            resources=resources,
            read_posts=r"/v1/notes/search",
        )

    return build_app


@pytest.fixture
def client(build, database_url: str) -> Iterator[TestClient]:  # type: ignore[no-untyped-def]
    settings = ServiceSettings(mode="local", database_url=database_url, max_body_bytes=2048)
    with TestClient(
        build(settings), base_url="http://localhost", raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    db = Database(database_url)
    with db.engine.begin() as connection:
        connection.execute(text("create schema floor"))
        Base.metadata.create_all(connection)
    yield db
    db.close()


def line(
    places: int = 1,
    *,
    length: int = 8,
    patience: float = 60,
    full: type[FineproofError] = Overloaded,
) -> Line:
    metrics = LineMetrics("floor", CollectorRegistry())
    return Line(places, length=length, patience=patience, metrics=metrics, full=full)
