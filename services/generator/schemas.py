"""Wire models private to the generator."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from services.common.contracts.base import Wire
from services.common.contracts.generator import UsedPassage
from services.common.errors import InvalidRequest


class CompletionHead(BaseModel):
    """The one field of a completion request that is read here; all others are vLLM's to judge."""

    model_config = ConfigDict(frozen=True)

    model: str


def completion_head(body: bytes) -> CompletionHead:
    """Read ``model`` out of a request that is handed on as it came."""
    try:
        # RecursionError: brackets nested thousands deep.
        request: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not valid JSON.", code="invalid_json") from error
    if not isinstance(request, dict):
        raise InvalidRequest("The body must be a JSON object.", code="invalid_type")
    model = request.get("model")
    if model is None:
        raise InvalidRequest(
            "The request needs a model; GET /v1/models lists them.",
            code="missing_required_parameter",
            param="model",
        )
    if not isinstance(model, str):
        raise InvalidRequest("Invalid 'model': a string is needed.", param="model")
    return CompletionHead(model=model)


class RagPassages(Wire):
    """The first event of a streamed RAG answer."""

    object: str = "rag.passages"
    id: str
    passages: list[UsedPassage]
    left_out: list[str]


class RagDelta(Wire):
    """A piece of the answer's text."""

    object: str = "rag.delta"
    id: str
    delta: str
