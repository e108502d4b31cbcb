from typing import get_args

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.common.contracts.generator import AdapterStatus
from services.common.db import Database
from services.generator import storage
from services.generator.models import Base


def test_the_wire_knows_every_status_that_rows_have() -> None:
    others = {"draining", "evicted", "unloaded", "failed"}
    assert {*storage.WANTED, *others} == set(get_args(AdapterStatus))


def test_the_migrations_build_the_tables_the_code_describes(
    generator: str, database_url: str
) -> None:
    db = Database(database_url, pool_size=1)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == "generator",
                "version_table_schema": "generator",
            },
        )
        assert compare_metadata(context, Base.metadata) == []
    db.close()
