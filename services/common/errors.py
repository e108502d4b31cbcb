"""Typed errors that carry their status, and the one handler that renders them.

::

    FineproofError
    ├── InvalidRequest        400
    ├── Unauthenticated       401
    ├── PermissionDenied      403
    ├── NotFound              404
    ├── Conflict              409
    ├── TooLarge              413
    ├── RateLimited           429
    ├── UpstreamFailed        502
    ├── Unavailable           503
    └── UpstreamTimeout       504

Each becomes OpenAI's envelope, ``{"error": {"message", "type", "code", "param"}}``.
"""

import errno
import json
from collections.abc import Mapping
from typing import Any

import psycopg
import sqlalchemy.exc
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

log = structlog.get_logger(__name__)

UNSUPPORTED = "unsupported_parameter"
"""Code of what is spelt right and not done here; a validator raises it as a pydantic error's type,
with the whole sentence."""


class FineproofError(Exception):
    """What a caller did wrong or ran into, in a sentence that says what to do about it.

    ``code`` is a stable snake_case word for programs, ``param`` the request field at fault.
    """

    status = 500
    type = "server_error"
    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.param = param
        self.headers = headers


class InvalidRequest(FineproofError):
    status, type, code = 400, "invalid_request_error", "invalid_request"


class Unauthenticated(FineproofError):
    status, type, code = 401, "authentication_error", "invalid_api_key"


class PermissionDenied(FineproofError):
    status, type, code = 403, "permission_error", "insufficient_scope"


class NotFound(FineproofError):
    status, type, code = 404, "invalid_request_error", "not_found"


class Conflict(FineproofError):
    status, type, code = 409, "invalid_request_error", "conflict"


class TooLarge(FineproofError):
    status, type, code = 413, "invalid_request_error", "too_large"


class RateLimited(FineproofError):
    status, type, code = 429, "rate_limit_error", "rate_limited"


class UpstreamFailed(FineproofError):
    status, type, code = 502, "upstream_error", "upstream_failed"


class Unavailable(FineproofError):
    status, type, code = 503, "service_unavailable_error", "service_unavailable"


class UpstreamTimeout(FineproofError):
    status, type, code = 504, "upstream_error", "upstream_timeout"


def envelope(error: FineproofError) -> dict[str, Any]:
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "code": error.code,
            "param": error.param,
        }
    }


def render(error: FineproofError) -> Response:
    # ASCII JSON: a message may quote input that UTF-8 cannot encode, such as a lone surrogate.
    return Response(
        json.dumps(envelope(error)),
        status_code=error.status,
        headers=dict(error.headers or {}),
        media_type="application/json",
    )


_BY_STATUS: dict[int, type[FineproofError]] = {
    kind.status: kind
    for kind in (
        InvalidRequest,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        Conflict,
        TooLarge,
        RateLimited,
        UpstreamFailed,
        Unavailable,
        UpstreamTimeout,
    )
}


def error_for_status(status: int, message: str, **details: Any) -> FineproofError:
    """The error type of an HTTP status, for turning a peer's answer back into an exception."""
    kind = _BY_STATUS.get(status, InvalidRequest if 400 <= status < 500 else UpstreamFailed)
    error = kind(message, **details)
    error.status = status if 400 <= status < 600 else error.status
    return error


def _from_validation(error: RequestValidationError) -> InvalidRequest:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    param = ".".join(where) or None
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", "it cannot be parsed")
        return InvalidRequest(f"The body is not valid JSON: {reason}.", code="invalid_json")
    if first["type"] == "missing" and not where:
        return InvalidRequest("The request needs a JSON body.", code="missing_body")
    if first["type"] == "extra_forbidden":
        return InvalidRequest(
            f"Unknown parameter: '{param}'. Remove it, or check its spelling.",
            code="unknown_parameter",
            param=param,
        )
    if first["type"] == UNSUPPORTED:
        return InvalidRequest(first["msg"], code=UNSUPPORTED, param=param)
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    code = "missing_required_parameter" if first["type"] == "missing" else "invalid_value"
    subject = f"Invalid '{param}': " if param else ""
    return InvalidRequest(f"{subject}{message}.", code=code, param=param)


def _disk_full(whose: str) -> Unavailable:
    return Unavailable(
        f"The {whose}'s disk is full; nothing was stored. Try again once there is room.",
        code="disk_full",
        headers={"Retry-After": "60"},
    )


def add_handlers(app: FastAPI) -> None:
    """Make every failure of ``app``, foreseen or not, answer in the envelope."""

    @app.exception_handler(FineproofError)
    async def typed(_: Request, error: FineproofError) -> Response:
        return render(error)

    @app.exception_handler(RequestValidationError)
    async def validation(_: Request, error: RequestValidationError) -> Response:
        return render(_from_validation(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return render(NotFound(f"There is nothing at {request.url.path}.", code="unknown_url"))
        if error.status_code == 405:
            return render(
                error_for_status(
                    405,
                    f"{request.method} is not a method of {request.url.path}.",
                    code="method_not_allowed",
                    headers=error.headers,
                )
            )
        return render(error_for_status(error.status_code, str(error.detail), headers=error.headers))

    # Text that PostgreSQL cannot hold (NUL, lone surrogates, numbers out of range) passes JSON
    # validation; it is still the caller's mistake.
    @app.exception_handler(sqlalchemy.exc.DataError)
    @app.exception_handler(psycopg.DataError)  # of a COPY, which SQLAlchemy does not see
    @app.exception_handler(UnicodeEncodeError)
    async def unstorable(_: Request, error: Exception) -> Response:
        log.info("unstorable_value", error=type(error).__name__)
        return render(
            InvalidRequest(
                "A value cannot be stored: text must be valid Unicode without NUL characters, "
                "and numbers must fit their column.",
                code="unstorable_value",
            )
        )

    @app.exception_handler(sqlalchemy.exc.OperationalError)
    @app.exception_handler(psycopg.OperationalError)
    @app.exception_handler(sqlalchemy.exc.TimeoutError)
    async def database_away(_: Request, error: Exception) -> Response:
        log.error("database_unavailable", error=str(error.__cause__ or error))
        cause = getattr(error, "orig", error)
        if isinstance(cause, psycopg.errors.DiskFull):
            return render(_disk_full("database"))
        if isinstance(cause, psycopg.errors.QueryCanceled):
            return render(
                Unavailable(
                    "The database worked on this for longer than is allowed; nothing was stored. "
                    "Ask for less at once, or try again when it has less to do.",
                    code="database_timeout",
                    headers={"Retry-After": "5"},
                )
            )
        return render(
            Unavailable(
                "The database cannot be reached; try again in a moment.",
                code="database_unavailable",
                headers={"Retry-After": "5"},
            )
        )

    @app.exception_handler(OSError)
    async def disk(_: Request, error: OSError) -> Response:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise error
        log.error("disk_full", error=str(error))
        return render(_disk_full("service"))

    @app.exception_handler(Exception)
    async def unforeseen(_: Request, error: Exception) -> JSONResponse:
        log.exception("unforeseen_error", exc_info=error)
        failure = FineproofError("Something went wrong on our side; the log has the details.")
        return JSONResponse(envelope(failure), status_code=500)
