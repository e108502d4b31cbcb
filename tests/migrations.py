"""Whether a database that was migrated is what the code describes."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, MetaData


def assert_migrated(engine: Engine, metadata: MetaData) -> None:
    """``metadata`` is of one service, whose tables are in a schema of their own."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == metadata.schema,
                "version_table_schema": metadata.schema,
            },
        )
        assert compare_metadata(context, metadata) == []
