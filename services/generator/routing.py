"""What a request's ``model`` means, and the body that says so to the server that answers."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True)
class Route:
    """``asked`` is the name the caller used, ``model`` the one the answering server knows.

    ``hosted`` says that this server is not ours, and ``asked`` its name here.
    """

    asked: str
    model: str
    hosted: bool = False


@dataclass(frozen=True)
class Served:
    """Who answers: ``model`` is never an alias; ``sha256`` is null where no adapter is at work,
    ``base_revision`` for a hosted model and where nobody can say."""

    model: str
    sha256: str | None = None
    base_revision: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        said = {
            "X-Fineproof-Model": quote(self.model, safe=":/@+,="),
            "X-Fineproof-Adapter-Sha256": self.sha256,
            "X-Fineproof-Base-Revision": self.base_revision,
        }
        return {name: value for name, value in said.items() if value is not None}


class Names:
    """The names that stand for others, held in memory: looking one up asks nobody."""

    def __init__(self, base_model: str, hosted: Mapping[str, str] | None = None) -> None:
        self.base_model = base_model
        self.hosted = hosted or {}
        """From our name of a hosted model to its host's."""
        self.aliases: Mapping[str, str] = {}
        """From alias to adapter; replaced whole, never changed."""

    def route(self, model: str) -> Route:
        if model in self.hosted:
            return Route(asked=model, model=self.hosted[model], hosted=True)
        return Route(asked=model, model=self.aliases.get(model, model))


def addressed(body: bytes, route: Route) -> bytes:
    """The caller's body for the server that answers: its ``model`` replaced where it is an alias.

    Every other byte stays. ``body`` is a JSON object, as ``completion_head`` has made sure.
    """
    if route.model == route.asked:
        return body
    encoding = json.detect_encoding(body)
    text = body.decode(encoding, "surrogatepass")
    kept: list[str] = []
    done, at = 0, _past(text, text.index("{") + 1)
    while text[at] == '"':
        key, at = _DECODER.raw_decode(text, at)
        start = _past(text, _past(text, at) + 1)
        _, end = _DECODER.raw_decode(text, start)
        if key == "model":  # named twice, the last one counts: all of them are replaced
            kept += text[done:start], json.dumps(route.model)
            done = end
        at = _past(text, end)
        at = _past(text, at + 1) if text[at] == "," else at
    return "".join((*kept, text[done:])).encode(encoding, "surrogatepass")


def _past(text: str, at: int) -> int:
    """The place of what follows the white space at ``at``."""
    space = _SPACE.match(text, at)
    assert space is not None
    return space.end()
