"""Whether a database that was migrated is what the code describes."""

import re

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData


def assert_migrated(engine: Engine, metadata: MetaData, *, besides: str = "") -> None:
    """``metadata`` is of one service, whose tables are in a schema of their own; names that match
    ``besides`` are of what a service makes when it needs it."""

    def is_described(name: str | None, kind: str, _: object) -> bool:
        if kind == "schema":
            return name == metadata.schema
        return re.fullmatch(besides, name or "-") is None

    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": is_described,
                "version_table_schema": metadata.schema,
            },
        )
        assert compare_metadata(context, metadata) == []
