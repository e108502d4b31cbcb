import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from services.common.errors import Conflict, RateLimited, error_for_status

CASES: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/v1/notes", b"{", 400, "invalid_json"),
    ("POST", "/v1/notes", b"", 400, "missing_body"),
    ("POST", "/v1/notes", b"[]", 400, "invalid_value"),
    ("POST", "/v1/notes", b"{}", 400, "missing_required_parameter"),
    ("POST", "/v1/notes", b'{"text": "x", "colour": 1}', 400, "unknown_parameter"),
    ("POST", "/v1/notes", b'{"text": "x", "size": 0}', 400, "invalid_value"),
    ("POST", "/v1/notes", b'{"text": "nul \\u0000"}', 400, "unstorable_value"),
    ("POST", "/v1/notes", b'{"text": "half \\ud800"}', 400, "unstorable_value"),
    ("POST", "/v1/notes", b'{"text": "%s"}' % (b"x" * 100), 400, "unstorable_value"),
    ("POST", "/v1/notes", b'{"text": "clash"}', 409, "conflict"),
    ("POST", "/v1/notes", b"x" * 4096, 413, "too_large"),
    ("GET", "/v1/nothing", b"", 404, "unknown_url"),
    ("DELETE", "/v1/notes", b"", 405, "method_not_allowed"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), CASES)
def test_every_bad_request_gets_the_envelope(
    client: TestClient, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    response = client.request(
        method, path, content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["code"] == code
    assert error["message"].endswith(".")


def test_the_parameter_at_fault_is_named(client: TestClient) -> None:
    error = client.post("/v1/notes", json={"text": "x", "size": 0}).json()["error"]
    assert error["param"] == "size"


def test_an_unforeseen_error_tells_no_details(client: TestClient) -> None:
    response = client.post("/v1/notes", json={"text": "bug"})
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret detail" not in response.text


def test_a_failed_request_leaves_nothing_behind(client: TestClient) -> None:
    assert client.post("/v1/notes", json={"text": "clash"}).status_code == 409
    # The row of the failed request would collide with this one's key, had it been kept.
    assert client.post("/v1/notes", json={"text": "clash"}).status_code == 409
    assert client.post("/v1/notes", json={"text": "kept"}).status_code == 200


def test_a_peers_status_becomes_its_error_again() -> None:
    assert isinstance(error_for_status(409, "x"), Conflict)
    assert isinstance(error_for_status(429, "x"), RateLimited)
    assert error_for_status(418, "x").status == 418


def test_a_message_with_a_lone_surrogate_is_rendered(client: TestClient) -> None:
    response = client.post("/v1/notes", content=b'{"text": "x", "\\ud800": 1}')
    assert response.status_code == 400
    assert json.loads(response.content)["error"]["code"] == "invalid_value"
