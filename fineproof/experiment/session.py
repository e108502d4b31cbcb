"""The stack an experiment runs on: the one that answers, or one started for it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from fineproof.errors import UserError
from fineproof.settings import Settings


@dataclass(frozen=True)
class Address:
    """Where a stack answers, and the key to show it (none for a local one)."""

    url: str
    key: str | None


@contextmanager
def stack_session(*, keep_up: bool) -> Iterator[Address]:
    """Give a running stack's address.

    ``FINEPROOF_URL`` (with ``FINEPROOF_API_KEY``) names one elsewhere, which must answer. Otherwise
    it is the local one, started when it does not answer and then stopped at the end, unless
    ``keep_up``.
    """
    if (remote := _remote()) is not None:
        yield remote
        return
    local = Settings.from_environment()
    started = not _answers(local.url)
    if started:
        _fineproof("up", "--detach")
    try:
        yield Address(local.url, None)
    finally:
        if started and not keep_up:
            _fineproof("down")


def running_stack() -> Address:
    """The address of a stack that answers already: ``FINEPROOF_URL``'s, or the local one's."""
    if (remote := _remote()) is not None:
        return remote
    local = Settings.from_environment()
    if not _answers(local.url):
        raise UserError(f"Nothing answers at {local.url}; `fineproof up` starts a stack there.")
    return Address(local.url, None)


def _remote() -> Address | None:
    remote = os.environ.get("FINEPROOF_URL")
    if not remote:
        return None
    if not _answers(remote):
        raise UserError(f"Nothing answers at FINEPROOF_URL={remote}.")
    return Address(remote, os.environ.get("FINEPROOF_API_KEY"))


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).is_success
    except httpx.HTTPError:
        return False


def _fineproof(*arguments: str) -> None:
    command = [sys.executable, "-m", "fineproof.cli", *arguments]
    if subprocess.run(command, check=False).returncode != 0:
        raise UserError(f"'fineproof {' '.join(arguments)}' failed; its last lines say why.")
