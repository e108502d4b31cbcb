"""What models said before, kept by what was asked."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from services.common.db import Database
from services.evaluator import cache
from services.evaluator.cache import ServedBy, key_of
from services.evaluator.models import Base, Cached
from tests.migrations import assert_migrated

TUNED = ServedBy("ft:small:qa:1", "ab" * 32)
ASK = {"question": "Why?", "temperature": 0.0, "passages": [{"id": "p", "text": "Because."}]}


def test_the_migrations_build_the_tables_the_code_describes(db: Database) -> None:
    assert_migrated(db.engine, Base.metadata)


def test_a_key_is_of_the_request_the_weights_and_the_repeat_whatever_the_order() -> None:
    same = dict(reversed(ASK.items()))
    assert key_of(ASK, TUNED) == key_of(same, TUNED)
    others = {
        key_of(ASK | {"question": "How?"}, TUNED),
        key_of(ASK | {"temperature": 0.5}, TUNED),
        key_of(ASK, ServedBy(TUNED.model, "cd" * 32)),
        key_of(ASK, ServedBy(TUNED.model, None)),
        key_of(ASK, ServedBy("ft:small:qa:2", TUNED.adapter_sha256)),
        key_of(ASK, TUNED, repeat=1),
    }
    assert len(others - {key_of(ASK, TUNED)}) == 6


def test_what_was_put_is_found_and_the_first_stays(db: Database) -> None:
    odd = {"text": "nul \x00, half a pair \ud83d, é", "score": 0.25, "none": None}
    with db.transaction() as session:
        cache.put_many(session, {"a": odd, "b": {"n": 1}})
        cache.put_many(session, {"b": {"n": 2}, "c": {}})
    with db.transaction() as session:
        assert cache.get_many(session, ["a", "b", "c", "d"]) == {"a": odd, "b": {"n": 1}, "c": {}}
        assert cache.get_many(session, []) == {}


def test_more_keys_than_one_statement_takes_are_all_kept(db: Database) -> None:
    values = {f"{n:064x}": {"n": n} for n in range(2 * cache.AT_ONCE + 1)}
    with db.transaction() as session:
        cache.put_many(session, values)
    with db.transaction() as session:
        assert cache.get_many(session, list(values)) == values


def test_a_value_too_large_is_left_out_and_one_that_is_no_json_refused(db: Database) -> None:
    with db.transaction() as session:
        cache.put_many(session, {"large": {"text": "x" * cache.MOST_BYTES}, "small": {}})
        assert cache.get_many(session, ["large", "small"]) == {"small": {}}
        with pytest.raises(ValueError, match="JSON compliant"):
            cache.put_many(session, {"nan": {"score": float("nan")}})


def aged(db: Database, key: str, days: float) -> None:
    with db.transaction() as session:
        moment = datetime.now(UTC) - timedelta(days=days)
        session.execute(update(Cached).where(Cached.key == key).values(used_at=moment))


def test_what_nobody_uses_goes_with_its_age_and_what_is_used_stays(db: Database) -> None:
    with db.transaction() as session:
        cache.put_many(session, {"old": {}, "read": {}, "new": {}})
    aged(db, "old", 31)
    aged(db, "read", 31)
    with db.transaction() as session:
        cache.get_many(session, ["read"])
        assert cache.clean(session, days=30, most_bytes=1_000) == 1
        assert set(cache.get_many(session, ["old", "read", "new"])) == {"read", "new"}


def test_beyond_its_size_the_longest_unused_goes_first(db: Database) -> None:
    with db.transaction() as session:
        cache.put_many(session, {name: {"t": "x" * 92} for name in "abc"})  # 100 bytes each
    for days, name in enumerate("bca"):
        aged(db, name, days)
    with db.transaction() as session:
        assert cache.clean(session, days=30, most_bytes=200) == 1
        assert set(cache.get_many(session, "abc")) == {"b", "c"}
