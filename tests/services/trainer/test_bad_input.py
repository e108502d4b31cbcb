"""Bad input on every route: OpenAI's envelope, never a 500."""

from typing import Any

import httpx
import pytest

JOBS = "/v1/fine_tuning/jobs"
NUL = "%00"

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
        {"json": {"model": "tiny-instruct", "training_file": "f", "method": {"type": "dpo"}}},
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
    ("GET", f"{JOBS}?metadata=x", {}, 400),
    ("GET", f"{JOBS}?metadata[k]={NUL}", {}, 400),
    ("GET", f"{JOBS}?after={NUL}", {}, 400),
    ("GET", f"{JOBS}/none", {}, 404),
    ("GET", f"{JOBS}/{NUL}", {}, 400),
    ("POST", f"{JOBS}/none/cancel", {}, 404),
    ("POST", f"{JOBS}/{NUL}/cancel", {}, 400),
    ("GET", f"{JOBS}/none/events", {}, 404),
    ("GET", f"{JOBS}/none/events?limit=x", {}, 400),
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
    answer = http.get(f"{JOBS}/{job_id}/events", params={"after": after})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")
