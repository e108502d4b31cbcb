"""Bad input on every route: OpenAI's envelope, never a 500."""

from typing import Any

import httpx
import pytest

JOBS = "/v1/fine_tuning/jobs"
NUL = "%00"
WHOLE = {"bytes": 1, "filename": "a", "mime_type": "text/plain", "purpose": "evals"}
FINE = {"model": "tiny-instruct", "training_file": "none"}

BAD: list[tuple[str, str, dict[str, Any], int]] = [
    ("POST", "/v1/files", {}, 400),
    ("POST", "/v1/files", {"json": {"file": "x"}}, 400),
    ("POST", "/v1/files", {"files": {"file": ("a", b"x")}}, 400),
    ("POST", "/v1/files", {"data": {"purpose": "evals"}, "files": {"other": ("a", b"x")}}, 400),
    ("POST", "/v1/files", {"data": {"purpose": "spam"}, "files": {"file": ("a", b"x")}}, 400),
    ("POST", "/v1/files", {"files": {"file": ("a", b"x"), "purpose": ("b", b"evals")}}, 400),
    (
        "POST",
        "/v1/files",
        {"data": {"purpose": "evals", "expires_after[seconds]": "3600"}, "files": {"file": b"x"}},
        400,
    ),
    *(
        (
            "POST",
            "/v1/files",
            {
                "data": {"purpose": "evals"} | {f"expires_after[{k}]": v for k, v in told.items()},
                "files": {"file": b"x"},
            },
            400,
        )
        for told in (
            {"anchor": "created_at"},
            {"anchor": "now", "seconds": "3600"},
            {"anchor": "created_at", "seconds": "3599"},
            {"anchor": "created_at", "seconds": "2592001"},
            {"anchor": "created_at", "seconds": "soon"},
            {"anchor": "created_at", "seconds": "9" * 5000},
        )
    ),
    (
        "POST",
        "/v1/files",
        {"headers": {"Content-Type": "multipart/form-data"}, "content": b"no boundary"},
        400,
    ),
    (
        "POST",
        "/v1/files",
        {"headers": {"Content-Type": "multipart/form-data; boundary=x"}, "content": b"--y\r\n"},
        400,
    ),
    ("GET", "/v1/files?limit=0", {}, 400),
    ("GET", "/v1/files?limit=10001", {}, 400),
    ("GET", "/v1/files?order=up", {}, 400),
    ("GET", f"/v1/files?after={NUL}", {}, 400),
    ("GET", f"/v1/files?purpose={NUL}", {}, 400),
    ("GET", "/v1/files/none", {}, 404),
    ("GET", f"/v1/files/{NUL}", {}, 400),
    ("DELETE", "/v1/files/none", {}, 404),
    ("DELETE", f"/v1/files/{NUL}", {}, 400),
    ("GET", "/v1/files/none/content", {}, 404),
    ("PUT", "/v1/files/none", {}, 405),
    ("POST", "/v1/uploads", {}, 400),
    ("POST", "/v1/uploads", {"json": []}, 400),
    ("POST", "/v1/uploads", {"json": WHOLE | {"bytes": 0}}, 400),
    ("POST", "/v1/uploads", {"json": WHOLE | {"bytes": "many"}}, 400),
    ("POST", "/v1/uploads", {"json": WHOLE | {"bytes": 2**70}}, 413),
    ("POST", "/v1/uploads", {"json": WHOLE | {"purpose": "spam"}}, 400),
    ("POST", "/v1/uploads", {"json": WHOLE | {"filename": ""}}, 400),
    ("POST", "/v1/uploads", {"json": WHOLE | {"mime_type": "\x00"}}, 400),
    ("POST", "/v1/uploads", {"json": WHOLE | {"expires_after": {"seconds": 3600}}}, 400),
    ("POST", "/v1/uploads", {"json": WHOLE | {"size": 1}}, 400),
    ("GET", "/v1/uploads", {}, 405),
    ("POST", "/v1/uploads/none/parts", {}, 400),
    ("POST", "/v1/uploads/none/parts", {"json": {"data": "x"}}, 400),
    ("POST", "/v1/uploads/none/parts", {"files": {"file": b"x"}}, 400),
    ("POST", "/v1/uploads/none/parts", {"files": {"data": b"x"}, "data": {"purpose": "x"}}, 400),
    ("POST", "/v1/uploads/none/parts", {"files": {"data": b"x"}}, 404),
    ("POST", f"/v1/uploads/{NUL}/parts", {"files": {"data": b"x"}}, 400),
    ("POST", "/v1/uploads/none/complete", {}, 400),
    ("POST", "/v1/uploads/none/complete", {"json": {"part_ids": []}}, 400),
    ("POST", "/v1/uploads/none/complete", {"json": {"part_ids": "p"}}, 400),
    ("POST", "/v1/uploads/none/complete", {"json": {"part_ids": ["\x00"]}}, 400),
    ("POST", "/v1/uploads/none/complete", {"json": {"part_ids": ["p"], "md5": "x"}}, 400),
    ("POST", "/v1/uploads/none/complete", {"json": {"part_ids": ["p"]}}, 404),
    ("POST", f"/v1/uploads/{NUL}/complete", {"json": {"part_ids": ["p"]}}, 400),
    ("POST", "/v1/uploads/none/cancel", {}, 404),
    ("POST", f"/v1/uploads/{NUL}/cancel", {}, 400),
    ("POST", JOBS, {}, 400),
    ("POST", JOBS, {"content": b"{"}, 400),
    ("POST", JOBS, {"json": []}, 400),
    ("POST", JOBS, {"json": {"model": "m"}}, 400),
    ("POST", JOBS, {"json": {"model": "m\x00", "training_file": "f"}}, 400),
    ("POST", JOBS, {"content": b'{"model":"tiny-instruct","training_file":"\\ud800"}'}, 400),
    ("POST", JOBS, {"json": {"model": "tiny-instruct", "training_file": "f", "sufix": "x"}}, 400),
    ("POST", JOBS, {"json": {"model": "tiny-instruct", "training_file": "f", "seed": -1}}, 400),
    ("POST", JOBS, {"json": {"model": "tiny-instruct", "training_file": "f", "suffix": "/"}}, 400),
    ("POST", JOBS, {"json": {"model": "tiny-instruct", "training_file": "f", "seed": 2**40}}, 400),
    (
        "POST",
        JOBS,
        {"json": {"model": "tiny-instruct", "training_file": "f", "method": {"type": "ppo"}}},
        400,
    ),
    (
        "POST",
        JOBS,
        {"content": b'{"model":"tiny-instruct","training_file":"f","seed":' + b"9" * 5000 + b"}"},
        400,
    ),
    (
        "POST",
        JOBS,
        {
            "json": {
                "model": "tiny-instruct",
                "training_file": "f",
                "metadata": {"k": "v" * 600},
            }
        },
        400,
    ),
    ("POST", JOBS, {"json": {"model": "m", "training_file": "f", "priority": 11}}, 400),
    ("POST", JOBS, {"json": {"model": "m", "training_file": "f", "integrations": [{}]}}, 400),
    ("POST", JOBS, {"json": {"model": "m", "training_file": "f", "checks": {"drop": [1]}}}, 400),
    ("POST", JOBS, {"json": FINE, "headers": {"Idempotency-Key": ""}}, 400),
    ("POST", JOBS, {"json": FINE, "headers": {"Idempotency-Key": "k" * 256}}, 400),
    ("POST", JOBS, {"json": FINE, "headers": {"Idempotency-Key": b"\xff\xfe"}}, 404),
    ("POST", "/v1/fine_tuning/estimate", {}, 400),
    ("POST", "/v1/fine_tuning/estimate", {"json": {"model": "m", "training_file": "f"}}, 400),
    (
        "POST",
        "/v1/fine_tuning/estimate",
        {"json": {"model": "tiny-instruct", "training_file": "f"}},
        404,
    ),
    ("GET", f"{JOBS}?metadata=x", {}, 400),
    ("GET", f"{JOBS}?metadata[k]={NUL}", {}, 400),
    ("GET", f"{JOBS}?after={NUL}", {}, 400),
    ("GET", f"{JOBS}/none", {}, 404),
    ("GET", f"{JOBS}/{NUL}", {}, 400),
    ("POST", f"{JOBS}/none/cancel", {}, 404),
    ("POST", f"{JOBS}/{NUL}/cancel", {}, 400),
    ("POST", f"{JOBS}/none/pause", {}, 404),
    ("POST", f"{JOBS}/{NUL}/pause", {}, 400),
    ("GET", f"{JOBS}/none/pause", {}, 405),
    ("POST", f"{JOBS}/none/resume", {}, 404),
    ("POST", f"{JOBS}/{NUL}/resume", {}, 400),
    ("GET", f"{JOBS}/none/events", {}, 404),
    ("GET", f"{JOBS}/none/events?limit=x", {}, 400),
    ("GET", f"{JOBS}/none/events?stream=true", {}, 404),
    ("GET", f"{JOBS}/none/events?stream=maybe", {}, 400),
    ("GET", f"{JOBS}/{NUL}/events?stream=true", {}, 400),
    ("GET", f"{JOBS}/none/events", {"headers": {"Accept": "text/event-stream"}}, 404),
    ("GET", f"{JOBS}/none/events", {"headers": {"Last-Event-ID": "9" * 300}}, 400),
    ("GET", f"{JOBS}/none/checkpoints", {}, 404),
    ("GET", f"{JOBS}/{NUL}/checkpoints", {}, 400),
    ("GET", "/v1/fine_tuning/adapters?after=" + NUL, {}, 400),
    ("GET", "/v1/fine_tuning/adapters/ft:a:b:c", {}, 404),
    ("GET", f"/v1/fine_tuning/adapters/{NUL}", {}, 400),
    ("GET", "/v1/fine_tuning/nothing", {}, 404),
]


def test_bad_input_is_refused_in_the_envelope(http: httpx.Client) -> None:
    wrong = []
    for method, path, request, status in BAD:
        answer = http.request(method, path, **request)
        error = answer.json().get("error", {})
        if answer.status_code != status or set(error) != {"message", "type", "code", "param"}:
            wrong.append((method, path, request, answer.status_code, answer.text[:200]))
    assert not wrong


@pytest.mark.parametrize("after", ["x", "ftevent_", "ftevent_-00000000001", "ftevent_" + "9" * 30])
def test_an_event_s_id_is_checked(http: httpx.Client, after: str) -> None:
    files = {"file": ("a.jsonl", b"{}")}
    file_id = http.post("/v1/files", files=files, data={"purpose": "fine-tune"}).json()["id"]
    ask = {"model": "tiny-instruct", "training_file": file_id}
    job_id = http.post(JOBS, json=ask).json()["id"]
    events = f"{JOBS}/{job_id}/events"
    for request, param in (
        ({"params": {"after": after}}, "after"),
        ({"params": {"after": after, "stream": "true"}}, "after"),
        ({"params": {"stream": "true"}, "headers": {"Last-Event-ID": after}}, "Last-Event-ID"),
    ):
        answer = http.get(events, **request)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
