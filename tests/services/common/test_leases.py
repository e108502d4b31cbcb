from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from services.common.db import Database
from services.common.leases import Heartbeat, claim, release, renew, unclaimed
from tests.services.common.conftest import Work

OPEN = ("queued", "running")


def put(db: Database, work_id: str, status: str = "queued") -> None:
    with db.transaction() as session:
        session.add(Work(id=work_id, status=status))


def lapse(db: Database, work_id: str) -> None:
    with db.transaction() as session:
        session.execute(
            update(Work)
            .where(Work.id == work_id)
            .values(lease_expires_at=datetime.now(UTC) - timedelta(seconds=1))
        )


def take(db: Database, work_id: str, owner: str) -> bool:
    with db.transaction() as session:
        return claim(session, Work, work_id, owner=owner, statuses=OPEN)


def test_a_row_is_claimed_once(db: Database) -> None:
    put(db, "a")
    assert take(db, "a", "one")
    assert not take(db, "a", "two")
    assert not take(db, "missing", "one")


def test_a_lapsed_lease_is_taken_over_and_the_first_owner_told(db: Database) -> None:
    put(db, "a")
    assert take(db, "a", "one")
    lapse(db, "a")
    assert take(db, "a", "two")
    with db.transaction() as session:
        assert not renew(session, Work, "a", owner="one", statuses=OPEN)
        assert renew(session, Work, "a", owner="two", statuses=OPEN)


def test_finished_work_is_not_claimed_and_a_cancelled_lease_not_renewed(db: Database) -> None:
    put(db, "done", "succeeded")
    assert not take(db, "done", "one")
    put(db, "a")
    assert take(db, "a", "one")
    with db.transaction() as session:
        session.execute(update(Work).where(Work.id == "a").values(status="cancelled"))
    with db.transaction() as session:
        assert not renew(session, Work, "a", owner="one", statuses=OPEN)


def test_waiting_rows_are_the_unclaimed_the_lapsed_and_the_released(db: Database) -> None:
    for work_id in ("fresh", "held", "lapsed", "released"):
        put(db, work_id)
    put(db, "over", "failed")
    for work_id in ("held", "lapsed", "released"):
        assert take(db, work_id, "one")
    lapse(db, "lapsed")
    with db.transaction() as session:
        release(session, Work, "released", owner="one")
    with db.transaction() as session:
        assert unclaimed(session, Work, statuses=OPEN) == ["fresh", "lapsed", "released"]


def test_a_heartbeat_notices_that_the_row_was_cancelled(db: Database) -> None:
    put(db, "a")
    assert take(db, "a", "one")
    with Heartbeat(db, Work, "a", owner="one", statuses=OPEN) as heartbeat:
        assert not heartbeat.lost.is_set()
        with db.transaction() as session:
            session.execute(update(Work).where(Work.id == "a").values(status="cancelled"))
        assert heartbeat.lost.wait(timeout=30)


def test_an_attempt_that_was_only_stopped_is_given_back(db: Database) -> None:
    put(db, "a")
    for undone, attempts in ((True, 0), (False, 1), (True, 1)):
        assert take(db, "a", "one")
        with db.transaction() as session:
            release(session, Work, "a", owner="one", undone=undone)
        with db.transaction() as session:
            assert session.get_one(Work, "a").attempts == attempts


def test_work_in_a_transaction_longer_than_its_lease_is_not_taken_over(db: Database) -> None:
    put(db, "a")
    assert take(db, "a", "one")
    lapse(db, "a")
    with db.transaction() as session:
        assert renew(session, Work, "a", owner="one", statuses=OPEN, lease=timedelta(0))
        assert not take(db, "a", "two")
    assert take(db, "a", "two")
