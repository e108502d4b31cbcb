import base64
import hashlib

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from services.common.settings import ApiKey, ServiceSettings


def key(name: str, *scopes: str) -> ApiKey:
    return ApiKey.model_validate(
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": scopes}
    )


@pytest.fixture
def guarded(build, database_url: str) -> TestClient:  # type: ignore[no-untyped-def]
    settings = ServiceSettings(
        mode="production",
        database_url=database_url,
        api_keys=(key("reader", "read"), key("writer", "read", "write")),
    )
    return TestClient(build(settings), raise_server_exceptions=False)


def ask(client: TestClient, method: str, path: str, key: str | None) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with client:
        return client.request(method, path, headers=headers, json={"text": "x"}).status_code


@pytest.mark.parametrize("path", ["/v1/notes", "/metrics", "/docs", "/openapi.json", "/nowhere"])
def test_every_path_but_health_needs_a_key(guarded: TestClient, path: str) -> None:
    assert ask(guarded, "GET", path, None) == 401
    assert ask(guarded, "GET", path, "guess") == 401


def test_health_needs_no_key(guarded: TestClient) -> None:
    assert ask(guarded, "GET", "/healthz", None) == 200
    assert ask(guarded, "GET", "/readyz", None) == 200


def test_a_reader_asks_but_does_not_write(guarded: TestClient) -> None:
    assert ask(guarded, "POST", "/v1/notes/search", "reader") == 200
    assert ask(guarded, "POST", "/v1/notes", "reader") == 403
    assert ask(guarded, "POST", "/v1/notes", "writer") == 200


def test_a_browser_may_give_the_key_as_a_password(guarded: TestClient) -> None:
    basic = base64.b64encode(b"me:reader").decode()
    with guarded:
        response = guarded.get("/metrics", headers={"Authorization": f"Basic {basic}"})
        assert response.status_code == 200
        for given in (b"!!", b"\xe9", b"", b"//79"):
            refused = guarded.get("/metrics", headers={b"Authorization": b"Basic " + given})
            assert refused.status_code == 401
            assert refused.headers["WWW-Authenticate"].startswith("Basic")


def test_production_without_keys_does_not_start() -> None:
    with pytest.raises(ValidationError, match="API_KEYS is empty"):
        ServiceSettings(mode="production", database_url="postgresql://")
