"""Names that several generators share, as two holders of one database."""

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from services.common.db import Database
from services.generator.adapters.locks import NameLocks


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    db = Database(database_url, pool_size=2)
    yield db
    db.close()


@pytest.fixture
def holders(db: Database) -> Iterator[tuple[NameLocks, NameLocks]]:
    one, other = NameLocks(db), NameLocks(db)
    yield one, other
    one.close()
    other.close()


class Visits:
    """Holds names for others to wait for, and notes who is in."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0

    async def visit(self, locks: NameLocks, name: str) -> None:
        async with locks.hold(name):
            self.inside += 1
            self.most = max(self.most, self.inside)
            await asyncio.sleep(0.05)
            self.inside -= 1


async def test_a_name_is_held_once_here_and_elsewhere(holders: tuple[NameLocks, NameLocks]) -> None:
    visits = Visits()
    await asyncio.gather(*(visits.visit(locks, "ft:a") for locks in holders * 3))
    assert visits.most == 1


async def test_names_do_not_wait_for_each_other(holders: tuple[NameLocks, NameLocks]) -> None:
    one, other = holders
    async with one.hold("ft:a"), other.hold("ft:b"), one.hold("ft:c"):
        pass


async def test_what_fails_under_a_name_gives_it_back(holders: tuple[NameLocks, NameLocks]) -> None:
    one, other = holders
    with pytest.raises(ZeroDivisionError):
        async with one.hold("ft:a"):
            raise ZeroDivisionError
    async with other.hold("ft:a"):
        pass


async def test_a_holder_that_dies_leaves_nothing_locked(
    holders: tuple[NameLocks, NameLocks], db: Database
) -> None:
    one, other = holders
    async with one.hold("ft:a"):
        with db.engine.connect() as admin:
            ended = admin.execute(
                text(
                    "select pg_terminate_backend(pid) from pg_locks "
                    "where locktype = 'advisory' and pid <> pg_backend_pid() and granted"
                )
            )
            assert ended.all() == [(True,)]
        async with other.hold("ft:a"):
            pass
    async with one.hold("ft:a"):  # by a new connection
        pass


async def test_no_transaction_is_open_while_a_name_is_held(
    holders: tuple[NameLocks, NameLocks], db: Database
) -> None:
    async with holders[0].hold("ft:a"):
        with db.engine.connect() as admin:
            open_ones = admin.execute(
                text(
                    "select count(*) from pg_stat_activity where xact_start is not null "
                    "and pid <> pg_backend_pid() and datname = current_database()"
                )
            )
            assert open_ones.scalar() == 0
