"""Experiments over HTTP: what is asked for, shown and refused."""

import hashlib
import json
from typing import Any

import httpx
import pytest

from services.common.contracts.evaluator import AnswerRow, Experiment, Report
from services.common.errors import Unavailable
from services.common.settings import ApiKey, Scope
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.conftest import (
    BAD,
    DOCUMENTS,
    PER_DOCUMENT,
    Bench,
    serving,
    specification,
)
from tests.services.evaluator.world import BASE, World

URL = "/v1/experiments"


async def created(http: httpx.AsyncClient, **changes: Any) -> Experiment:
    response = await http.post(URL, json=specification(**changes))
    assert response.status_code == 201, response.text
    return Experiment.model_validate_json(response.content)


async def finished(http: httpx.AsyncClient, bench: Bench, **changes: Any) -> str:
    experiment = await created(http, **changes)
    row = await bench.run(experiment.id)
    assert row.status == "completed"
    return experiment.id


async def test_an_experiment_is_queued_at_once_and_shown(http: httpx.AsyncClient) -> None:
    experiment = await created(http, metadata={"team": "search"})
    assert experiment.status == "queued"
    assert experiment.progress.phase == "queued"
    assert experiment.spec.metadata == {"team": "search"}
    again = await http.get(f"{URL}/{experiment.id}")
    assert Experiment.model_validate_json(again.content) == experiment


async def test_a_finished_experiment_shows_its_verdict_and_every_form_of_its_report(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    experiment_id = await finished(http, bench)
    shown = Experiment.model_validate_json((await http.get(f"{URL}/{experiment_id}")).content)
    report = Report.model_validate_json((await http.get(f"{URL}/{experiment_id}/report")).content)
    assert shown.status == "completed"
    assert shown.verdict == report.headline
    assert shown.report_url == f"{URL}/{experiment_id}/report"
    assert shown.finished_at is not None
    markdown = await http.get(f"{URL}/{experiment_id}/report.md")
    assert markdown.headers["content-type"].startswith("text/markdown")
    assert "**HURTS**" in markdown.text
    page = await http.get(f"{URL}/{experiment_id}/report.html")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    forest = await http.get(f"{URL}/{experiment_id}/figures/forest.svg")
    assert forest.headers["content-type"].startswith("image/svg+xml")
    assert forest.text in page.text


async def test_rows_stream_in_order_and_can_be_narrowed(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    experiment_id = await finished(http, bench)
    response = await http.get(f"{URL}/{experiment_id}/rows")
    assert response.headers["content-type"] == "application/x-ndjson"
    rows = [AnswerRow.model_validate_json(line) for line in response.text.splitlines()]
    assert len(rows) == DOCUMENTS * PER_DOCUMENT * 9
    assert [(r.condition, r.arm) for r in rows[:4]] == [
        ("closed_book", "base"),
        ("closed_book", "qa"),
        ("closed_book", "rag"),
        ("retrieved", "base"),
    ]
    assert len({(r.item_id, r.arm, r.condition) for r in rows}) == len(rows)
    narrow = await http.get(
        f"{URL}/{experiment_id}/rows", params={"arm": "qa", "condition": "oracle"}
    )
    kept = [json.loads(line) for line in narrow.text.splitlines()]
    assert len(kept) == DOCUMENTS * PER_DOCUMENT
    assert {(row["arm"], row["condition"], row["model"]) for row in kept} == {("qa", "oracle", BAD)}


async def test_rows_of_more_items_than_are_read_at_once_are_all_there(
    http: httpx.AsyncClient, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.evaluator.rows.ROWS_AT_ONCE", 7)
    experiment_id = await finished(http, bench, conditions=["closed_book"])
    lines = (await http.get(f"{URL}/{experiment_id}/rows")).text.splitlines()
    items = [json.loads(line)["item_id"] for line in lines]
    assert list(dict.fromkeys(items)) == [item["id"] for item in bench.world.items]
    assert len(items) == DOCUMENTS * PER_DOCUMENT * 3


async def test_experiments_page_newest_first(http: httpx.AsyncClient) -> None:
    ids = [(await created(http)).id for _ in range(3)]
    first = (await http.get(URL, params={"limit": 2})).json()
    assert [row["id"] for row in first["data"]] == [ids[2], ids[1]]
    assert first["has_more"] is True
    rest = (await http.get(URL, params={"limit": 2, "after": first["last_id"]})).json()
    assert [row["id"] for row in rest["data"]] == [ids[0]]
    assert rest["has_more"] is False


async def test_a_waiting_experiment_can_be_cancelled_twice_and_then_deleted(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    experiment = await created(http)
    assert (await http.delete(f"{URL}/{experiment.id}")).status_code == 409
    for _ in range(2):
        response = await http.post(f"{URL}/{experiment.id}/cancel")
        assert response.status_code == 200
        assert response.json()["status"] == "canceled"
    assert (await bench.run(experiment.id)).status == "canceled"
    assert (await http.delete(f"{URL}/{experiment.id}")).json()["deleted"] is True
    assert (await http.get(f"{URL}/{experiment.id}")).status_code == 404


async def test_deleting_a_finished_experiment_takes_its_rows_and_files(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    experiment_id = await finished(http, bench, conditions=["closed_book"])
    refused = await http.post(f"{URL}/{experiment_id}/cancel")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "experiment_finished")
    assert (await http.delete(f"{URL}/{experiment_id}")).status_code == 200
    assert not bench.artifacts.exists(f"experiments/{experiment_id}/report.html")
    assert bench.answers(experiment_id) == []


async def test_a_report_that_is_not_ready_says_so(http: httpx.AsyncClient) -> None:
    experiment = await created(http)
    for form in ("report", "report.md", "report.html", "figures/forest.svg"):
        response = await http.get(f"{URL}/{experiment.id}/{form}")
        assert response.status_code == 409
        assert response.json()["error"]["code"] == "report_not_ready"


async def test_a_report_whose_files_are_gone_still_has_its_figures(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    experiment_id = await finished(http, bench, conditions=["closed_book"])
    bench.artifacts.delete(f"experiments/{experiment_id}")
    gone = await http.get(f"{URL}/{experiment_id}/report.html")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "artifact_gone")
    assert (await http.get(f"{URL}/{experiment_id}/report")).status_code == 200


UNKNOWN_ARM = [{"name": "base", "model": BASE}, {"name": "x", "model": "ft:small-base:none:9"}]
UNKNOWN_BASE = [{"name": "base", "model": BASE}, {"name": "x", "model": "gpt-9"}]


@pytest.mark.parametrize(
    ("changes", "code", "param", "hint"),
    [
        ({"metrics": ["bleurt"]}, "unknown_metric", "metrics", "contains_answer"),
        ({"metrics": ["semantic_similarity"]}, "metric_unavailable", "metrics", "EMBEDDING_MODEL"),
        ({"metrics": ["answer_length"]}, "metric_cannot_decide", "metrics", "token_f1"),
        (
            {"dataset": {"name": "d", "file_id": "file_9"}},
            "file_not_found",
            "dataset.file_id",
            "evals",
        ),
        ({"vector_store_id": "vs_9"}, "vector_store_not_found", "vector_store_id", "vector_stores"),
        ({"arms": UNKNOWN_ARM}, "adapter_not_found", "arms.1.model", "/v1/fine_tuning/adapters"),
        ({"arms": UNKNOWN_BASE}, "model_not_found", "arms.1.model", BASE),
        ({"baseline": "none"}, "invalid_value", None, "base, qa, rag"),
        ({"conditions": ["closed_book", "closed_book"]}, "invalid_value", None, "once"),
        ({"conditions": ["open_book"]}, "invalid_value", "conditions.0", ""),
        ({"arms": []}, "invalid_value", "arms", ""),
        ({"name": ""}, "invalid_value", "name", ""),
        ({"colour": "teal"}, "unknown_parameter", "colour", ""),
        ({"statistics": {"margin": 0}}, "invalid_value", "statistics.margin", ""),
        ({"statistics": {"resamples": 10}}, "invalid_value", "statistics.resamples", ""),
        ({"sampling": {"temperature": "hot"}}, "invalid_value", "sampling.temperature", ""),
        ({"retrieval": {"max_num_results": 0}}, "invalid_value", "retrieval.max_num_results", ""),
        ({"metadata": {"k": 1}}, "invalid_value", "metadata.k", ""),
        ({"name": "nul\x00"}, "unstorable_value", None, "NUL"),
        ({"vector_store_id": "../files"}, "invalid_value", "vector_store_id", ""),
    ],
)
async def test_a_specification_that_cannot_run_is_refused_with_a_hint(
    http: httpx.AsyncClient, changes: dict[str, Any], code: str, param: str | None, hint: str
) -> None:
    response = await http.post(URL, json=specification(**changes))
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert hint in error["message"]
    assert (await http.get(URL)).json()["data"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"purpose": "fine-tune"}, "invalid_file_purpose"),
        ({"store_status": "in_progress"}, "vector_store_not_ready"),
        ({"passages": []}, "vector_store_empty"),
    ],
)
async def test_what_is_there_but_not_fit_is_refused(
    http: httpx.AsyncClient, world: World, change: dict[str, Any], code: str
) -> None:
    for name, value in change.items():
        setattr(world, name, value)
    response = await http.post(URL, json=specification())
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"name": 1}']
)
async def test_a_body_that_is_no_specification_is_refused(
    http: httpx.AsyncClient, body: bytes
) -> None:
    response = await http.post(URL, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert set(response.json()["error"]) == {"message", "type", "code", "param"}


STRANGE_IDS = ["exp_none", "%00", "..%2F..", "é", "a" * 300, "%F0%9F%98%80", "exp'--"]


@pytest.mark.parametrize("strange", STRANGE_IDS)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/report"),
        ("GET", "/report.md"),
        ("GET", "/report.html"),
        ("GET", "/figures/forest.svg"),
        ("GET", "/rows"),
    ],
)
async def test_an_experiment_that_is_not_there_is_no_server_error(
    http: httpx.AsyncClient, method: str, path: str, strange: str
) -> None:
    response = await http.request(method, f"{URL}/{strange}{path}")
    assert 400 <= response.status_code < 500
    assert set(response.json()["error"]) == {"message", "type", "code", "param"}


@pytest.mark.parametrize(
    "query",
    [
        "rows?condition=none",
        "rows?arm=nobody",
        "rows?arm=%00",
        "?limit=0",
        "?limit=many",
        "?order=up",
        "?after=%00",
    ],
)
async def test_a_query_that_means_nothing_is_refused(http: httpx.AsyncClient, query: str) -> None:
    experiment = await created(http)
    path = f"{URL}/{experiment.id}/{query}" if query.startswith("rows") else URL + query
    response = await http.get(path)
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


async def test_a_peer_that_is_away_is_a_503(http: httpx.AsyncClient, world: World) -> None:
    world.away = Unavailable("The retriever cannot be reached.")
    response = await http.post(URL, json=specification())
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "service_unavailable"


def key(name: str, *scopes: Scope) -> ApiKey:
    return ApiKey(
        name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), scopes=frozenset(scopes)
    )


@pytest.fixture
def guarded(settings: EvaluatorSettings) -> EvaluatorSettings:
    keys = (key("reader", "read"), key("writer", "read", "write"))
    return settings.model_copy(update={"mode": "production", "api_keys": keys})


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


async def test_in_production_a_key_is_needed_everywhere_but_for_health(
    guarded: EvaluatorSettings, world: World
) -> None:
    async with serving(guarded, world) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 200
        for path in (URL, f"{URL}/exp_1/report.html", "/metrics", "/docs", "/"):
            assert (await http.get(path)).status_code == 401
        assert (await http.get(URL, headers=bearer("guess"))).status_code == 401


async def test_in_production_reading_and_writing_are_told_apart(
    guarded: EvaluatorSettings, world: World
) -> None:
    async with serving(guarded, world) as http:
        assert (await http.get(URL, headers=bearer("reader"))).status_code == 200
        refused = await http.post(URL, json=specification(), headers=bearer("reader"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (
            403,
            "insufficient_scope",
        )
        made = await http.post(URL, json=specification(), headers=bearer("writer"))
        assert made.status_code == 201
