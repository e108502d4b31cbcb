"""Wire models private to the generator."""

import json
from dataclasses import dataclass
from typing import Any

from services.common.errors import InvalidRequest


@dataclass(frozen=True)
class CompletionHead:
    """What is read here of a completion request; all else is vLLM's to judge."""

    model: str
    scores_prompt: bool
    """Whether it asks for log-probabilities of the prompt's own tokens."""


def completion_head(body: bytes) -> CompletionHead:
    """Read the head of a request that is handed on as it came."""
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
    # What is echoed is scored as what is generated; vLLM's chat has 0 there unless it is told null.
    scores = request.get("logprobs") is not None or (
        "messages" in request and request.get("top_logprobs", 0) is not None
    )
    scores_prompt = request.get("prompt_logprobs") is not None or bool(
        request.get("echo") and scores
    )
    return CompletionHead(model=model, scores_prompt=scores_prompt)
