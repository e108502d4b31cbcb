import pytest
from fastapi.testclient import TestClient


@pytest.mark.parametrize("host", ["attacker.example", "localhost.attacker.example:80", "", "[::2]"])
@pytest.mark.parametrize("path", ["/v1/notes", "/healthz", "/metrics"])
def test_a_service_without_keys_answers_to_no_foreign_name(
    client: TestClient, host: str, path: str
) -> None:
    answer = client.get(path, headers={"host": host})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "foreign_host"


@pytest.mark.parametrize("host", ["127.0.0.1:8001", "LocalHost", "[::1]:80"])
def test_it_answers_to_the_loopbacks_names(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200
