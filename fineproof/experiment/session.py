"""The stack an experiment runs on: the one that answers, or one started for it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from fineproof.errors import UserError
from fineproof.experiment.stack import served_base
from fineproof.models.catalog import servable
from fineproof.settings import Settings
from services.common.clients.generator import GeneratorClient
from services.common.errors import FineproofError

STDERR = 2
"""The error stream's number, which is there for a child also where Python's own was replaced."""


@dataclass(frozen=True)
class Address:
    """Where a stack answers, and the key to show it (none for a local one). ``elsewhere``: it is
    not ours to start, to stop or to switch."""

    url: str
    key: str | None
    elsewhere: bool = False


@dataclass(frozen=True)
class Wanted:
    """The base model a stack is to serve: as ``FINEPROOF_MODEL`` names it, and as clients do."""

    asked: str
    name: str


@contextmanager
def stack_session(
    *, keep_up: bool, model: Wanted | None = None, aside: bool = False
) -> Iterator[Address]:
    """Give a running stack's address; with ``model``, of one that serves it. ``aside`` has its
    start told on the error stream.

    ``FINEPROOF_URL`` (with ``FINEPROOF_API_KEY``) names one elsewhere, which must answer. Otherwise
    it is the local one, started when it does not answer and then stopped at the end, unless
    ``keep_up``. A local one that serves another model is stopped, and started with this one.
    """
    if (remote := _remote()) is not None:
        yield remote
        return
    local = Address(Settings.from_environment().url, None)
    started = not _answers(local.url)
    if not started and model is not None and served_model(local) != model.name:
        _fineproof("down", aside=aside)
        started = True
    if started:
        _fineproof("up", "--detach", model=model, aside=aside)
    try:
        yield local
    finally:
        if started and not keep_up:
            _fineproof("down", aside=aside)


def wanted_models(asked: Sequence[str]) -> list[Wanted]:
    """The base models ``asked`` for, by default the one the stack serves or would; one that is
    served already comes first. Raises :class:`UserError` where one cannot be had."""
    settings, stack = Settings.from_environment(), found_stack()
    served = served_model(stack) if stack is not None else None
    models = [
        Wanted(name, name) if name == served else _wanted(name, settings, stack, served)
        for name in asked or [served or settings.model]
    ]
    names = [model.name for model in models]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"'{twice[0]}' is named twice: models are told apart by what serves them.")
    return sorted(models, key=lambda model: model.name != served)


def _wanted(name: str, settings: Settings, stack: Address | None, served: str | None) -> Wanted:
    if stack is not None and stack.elsewhere:
        raise UserError(
            f"The stack at FINEPROOF_URL={stack.url} serves '{served}', and its model cannot be "
            f"switched from here: ask '{name}' of a stack that serves it."
        )
    return Wanted(name, servable(name, settings.home).name)


def served_model(stack: Address) -> str:
    """The base model that a running stack serves, by the name that clients ask for."""

    async def served() -> str:
        async with GeneratorClient.connect(stack.url, stack.key) as generator:
            return await served_base(generator)

    try:
        return asyncio.run(served())
    except FineproofError as error:
        raise UserError(error.message) from error


def running_stack() -> Address:
    """The address of a stack that answers already: ``FINEPROOF_URL``'s, or the local one's."""
    if (found := found_stack()) is not None:
        return found
    url = Settings.from_environment().url
    raise UserError(f"Nothing answers at {url}; `fineproof up` starts a stack there.")


def found_stack() -> Address | None:
    """The same, or None where no local one answers and ``FINEPROOF_URL`` names none."""
    if (remote := _remote()) is not None:
        return remote
    local = Settings.from_environment()
    return Address(local.url, None) if _answers(local.url) else None


def _remote() -> Address | None:
    remote = os.environ.get("FINEPROOF_URL")
    if not remote:
        return None
    if not _answers(remote):
        raise UserError(f"Nothing answers at FINEPROOF_URL={remote}.")
    return Address(remote, os.environ.get("FINEPROOF_API_KEY"), elsewhere=True)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=2).is_success
    except httpx.HTTPError:
        return False


def _fineproof(*arguments: str, model: Wanted | None = None, aside: bool) -> None:
    command = [sys.executable, "-m", "fineproof.cli", *arguments]
    named = {"FINEPROOF_MODEL": model.asked} if model is not None else {}
    out = STDERR if aside else None
    if subprocess.run(command, check=False, stdout=out, env={**os.environ, **named}).returncode:
        raise UserError(f"'fineproof {' '.join(arguments)}' failed; its last lines say why.")
