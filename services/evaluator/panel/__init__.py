"""The default forgetting panel: general questions of our own."""

from collections.abc import AsyncIterator
from importlib.resources import files

NAME = "general"


async def lines() -> AsyncIterator[str]:
    """Lines of ``general.jsonl``, as of any test file."""
    for line in files(__name__).joinpath("general.jsonl").read_text().splitlines():
        yield line
