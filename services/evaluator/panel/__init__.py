"""The default forgetting panel: general questions of our own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

from services.common.contracts.arms import ForgettingAsk
from services.common.errors import InvalidRequest
from services.evaluator.peers import Peers

NAME = "general"
MOST_ITEMS = 1_000


async def lines() -> AsyncIterator[str]:
    """Lines of ``general.jsonl``, as of any test file."""
    for line in files(__name__).joinpath("general.jsonl").read_text().splitlines():
        yield line


@asynccontextmanager
async def panel_lines(ask: ForgettingAsk, peers: Peers) -> AsyncIterator[AsyncIterator[str]]:
    """Lines of the panel asked for: a file's, or of our own."""
    if ask.file_id is None:
        yield lines()
        return
    async with peers.trainer.file_lines(ask.file_id) as content:
        yield content


def of_panel(error: InvalidRequest) -> InvalidRequest:
    """What is wrong with the lines, said of the panel."""
    return InvalidRequest(
        f"The forgetting panel: {error.message}", code=error.code, param="forgetting.file_id"
    )
