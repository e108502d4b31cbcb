"""Identifiers that sort by the time they were made."""

import secrets
import time


def new_id(prefix: str) -> str:
    """Return ``<prefix>_<12 hex of milliseconds><12 hex of randomness>``.

    The time comes first, so that rows page in the order they were made.
    """
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


def now() -> int:
    """Unix time in whole seconds, as every wire format here states it."""
    return int(time.time())
