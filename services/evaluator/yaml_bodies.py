"""Routes that take YAML where they take JSON."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import yaml
from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from services.common.errors import InvalidRequest

_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
_MOST_BYTES = 1_000_000


class _Loader(yaml.SafeLoader):
    """Plain data alone: no tags that build objects, no key twice, and no aliases, of which a few
    lines can make a document without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it uses an alias (*name); write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"a key stands twice in the block that begins on line {line}")
        return mapping

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """PyYAML takes a tag at its word: ``!!bool maybe`` is a KeyError."""
        try:
            return super().construct_object(node, deep=deep)
        except (LookupError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            line = node.start_mark.line + 1
            raise yaml.YAMLError(f"what stands on line {line} is no {kind}") from error


def as_json(body: bytes) -> bytes:
    """A YAML document as JSON; ``InvalidRequest`` says what cannot be read, and where."""
    if len(body) > _MOST_BYTES:
        raise InvalidRequest(
            f"A specification in YAML holds at most {_MOST_BYTES} bytes.", code="invalid_yaml"
        )
    try:
        content = yaml.load(body, _Loader)  # noqa: S506 - it is a SafeLoader
        return json.dumps(content, default=str).encode()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" on line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _wrong(f"{error.problem or error.context}{where}") from error
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise _wrong(str(error).partition("\n")[0] or "it nests too deep") from error


def _wrong(reason: str) -> InvalidRequest:
    return InvalidRequest(f"The body is not valid YAML: {reason}.", code="invalid_yaml")


class YamlRoute(APIRoute):
    """Reads a body by its content type: YAML, or what FastAPI reads by itself."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def read(request: Request) -> Response:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind not in _TYPES:
                return await handle(request)
            # Here, not when FastAPI reads it: that would hide the reason from the caller.
            body = as_json(await request.body())
            others = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
            scope = dict(request.scope)
            scope["headers"] = [*others, (b"content-type", b"application/json")]

            async def receive() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            return await handle(Request(scope, receive))

        return read
