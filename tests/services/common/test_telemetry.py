from fastapi.testclient import TestClient


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
