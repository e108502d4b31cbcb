import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from services.common.telemetry import Metrics, Telemetry, access_log, configure_logging


def test_a_plain_request_id_is_kept_and_a_wild_one_replaced(client: TestClient) -> None:
    kept = client.get("/healthz", headers={"X-Request-ID": "job-7.a"})
    assert kept.headers["x-request-id"] == "job-7.a"
    replaced = client.get("/healthz", headers={"X-Request-ID": "a b{}"})
    assert replaced.headers["x-request-id"].startswith("req_")


def test_metrics_count_by_route_not_by_path(client: TestClient) -> None:
    client.post("/v1/notes", json={"text": "x"})
    for n in range(3):
        client.get(f"/v1/nothing/{n}")
    text = client.get("/metrics").text
    assert 'route="/v1/notes",status="200"} 1.0' in text
    assert 'route="unmatched",status="404"} 3.0' in text
    assert "/v1/nothing" not in text


@pytest.fixture
def as_before() -> Iterator[None]:
    """What ``configure_logging`` changes."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize(("level", "lines"), [("INFO", 2), ("WARNING", 0)])
def test_a_request_has_the_line_that_any_other_event_has(
    capsys: pytest.CaptureFixture[str], level: str, lines: int
) -> None:
    configure_logging("notes", level)
    with structlog.contextvars.bound_contextvars(request_id="req_1"):
        access_log("notes").info("request", status=200, path="/v1/a\nb")
        structlog.get_logger("access").info("request", status=200, path="/v1/a\nb")
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(found) == lines
    for line in found:
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "service": "notes",
            "event": "request",
            "status": 200,
            "path": "/v1/a\nb",
            "request_id": "req_1",
            "level": "info",
            "logger": "access",
        }


class Full:
    """What stderr is when its disk is full."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None: ...


def test_a_log_that_cannot_be_written_fails_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"here"})

    monkeypatch.setattr("sys.stderr", Full())
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    telemetry = Telemetry(app, metrics=Metrics("notes"))
    monkeypatch.undo()
    assert TestClient(telemetry).get("/v1/notes").text == "here"
