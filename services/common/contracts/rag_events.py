"""The generator's wire of a cited answer as it is said: the events of a streamed one.

Between the first and the last of these come pieces; the whole ``RagAnswer`` follows them.
"""

from typing import Literal

from services.common.contracts.base import Wire
from services.common.contracts.generator import Packing, RagAnswer, Usage, UsedPassage


class RagPassages(Wire):
    """The first event of a streamed RAG answer."""

    object: Literal["rag.passages"] = "rag.passages"
    id: str
    passages: list[UsedPassage]
    left_out: list[str]
    packing: Packing


class RagDelta(Wire):
    """A piece of the answer, or of the reasoning before it, both without their markers.

    ``rag.reset`` takes back all of the answer so far: it was reasoning, as what followed shows.
    """

    object: Literal["rag.delta", "rag.reasoning.delta", "rag.reset"]
    id: str
    delta: str


class RagUsage(Wire):
    """The last event of a stream that was asked to ``include_usage``."""

    object: Literal["rag.usage"] = "rag.usage"
    id: str
    usage: Usage


RagEvent = RagPassages | RagDelta | RagAnswer | RagUsage
