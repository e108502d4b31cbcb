import hashlib

import pytest
from fastapi.testclient import TestClient

from services.common.settings import ApiKey
from services.trainer.main import create_app
from services.trainer.settings import TrainerSettings

ROUTES = [
    ("POST", "/v1/files"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/f"),
    ("DELETE", "/v1/files/f"),
    ("GET", "/v1/files/f/content"),
    ("POST", "/v1/uploads"),
    ("POST", "/v1/uploads/u/parts"),
    ("POST", "/v1/uploads/u/complete"),
    ("POST", "/v1/uploads/u/cancel"),
    ("POST", "/v1/fine_tuning/jobs"),
    ("GET", "/v1/fine_tuning/jobs"),
    ("GET", "/v1/fine_tuning/jobs/j"),
    ("POST", "/v1/fine_tuning/jobs/j/cancel"),
    ("POST", "/v1/fine_tuning/jobs/j/pause"),
    ("POST", "/v1/fine_tuning/jobs/j/resume"),
    ("GET", "/v1/fine_tuning/jobs/j/events"),
    ("GET", "/v1/fine_tuning/jobs/j/events?stream=true"),
    ("GET", "/v1/fine_tuning/jobs/j/checkpoints"),
    ("GET", "/v1/fine_tuning/adapters"),
    ("GET", "/v1/fine_tuning/adapters/ft:a:b:c"),
]


def key(name: str, *scopes: str) -> ApiKey:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ApiKey.model_validate({"name": name, "sha256": digest, "scopes": scopes})


@pytest.fixture
def production(settings: TrainerSettings) -> TestClient:
    keys = (key("reader", "read"), key("writer", "read", "write"))
    locked = settings.model_copy(update={"mode": "production", "api_keys": keys})
    return TestClient(create_app(locked))


def test_in_production_every_route_needs_a_key_and_changes_need_write(
    production: TestClient,
) -> None:
    with production as client:
        for method, path in ROUTES:
            assert client.request(method, path).status_code == 401, path
            reader = client.request(method, path, headers={"Authorization": "Bearer reader"})
            assert (reader.status_code == 403) == (method != "GET"), path
            writer = client.request(method, path, headers={"Authorization": "Bearer writer"})
            assert writer.status_code in (200, 400, 404), path
        assert client.get("/healthz").status_code == 200


def test_an_upload_without_a_key_is_refused_before_its_size_is_looked_at(
    production: TestClient,
) -> None:
    with production as client:
        for path, size in (("/v1/files", 2**21), ("/v1/uploads/u/parts", 65 * 2**20)):
            assert client.post(path, content=bytes(size)).status_code == 401
