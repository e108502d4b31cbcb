"""Every page through the real application."""

import httpx
import pytest
from starlette.testclient import TestClient

from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.dashboard import samples
from tests.services.evaluator.dashboard.conftest import (
    HOSTILE,
    Wired,
    generator_app,
    nobody,
    opened,
    peers_of,
)


def test_the_overview_shows_services_experiments_jobs_and_adapters(
    client: TestClient, experiment_id: str
) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert samples.HEADLINE in page.text
    assert "Serves smollm2 and 1 adapter" in page.text
    assert "13 of 50 steps" in page.text
    assert f'href="/adapters/{samples.QA}"' in page.text


def test_every_page_forbids_inline_script_and_other_origins(
    client: TestClient, experiment_id: str
) -> None:
    paths = ("/", "/jobs", "/adapters", "/experiments", f"/experiments/{experiment_id}", "/nowhere")
    for path in paths:
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
        assert "http" not in policy


def test_a_peer_that_is_down_is_named_with_its_reason_and_the_page_still_comes(
    settings: EvaluatorSettings,
) -> None:
    connect = peers_of(nobody(), httpx.ASGITransport(generator_app()))
    with opened(Wired(settings, connect).app()) as client:
        overview = client.get("/")
        assert overview.status_code == 200
        assert "Cannot be reached (ConnectError)." in overview.text
        assert "The trainer cannot be reached (ConnectError)." in overview.text
        assert client.get("/jobs").status_code == 200
        loaded = client.get(f"/adapters/{samples.QA}")
        assert loaded.status_code == 200
        assert "210 of 210 LoRA modules" in loaded.text
        missing = client.get("/jobs/ftjob_1")
        assert missing.status_code == 503
        assert "The trainer cannot be reached" in missing.text


def test_an_experiment_page_shows_verdict_table_forest_and_warnings(
    client: TestClient, experiment_id: str
) -> None:
    text = client.get(f"/experiments/{experiment_id}").text
    assert samples.HEADLINE in text
    assert 'aria-label="Forest plot: Contains the answer"' in text
    assert "−0.42" in text
    assert "−0.52 to −0.32" in text
    assert "About 240 questions would settle it." in text
    assert "One answer could not be scored." in text
    assert "What tuning does to the value of retrieval" in text
    for form in ("report", "report.md", "report.html"):
        assert f'href="/v1/experiments/{experiment_id}/{form}"' in text


def test_an_experiment_page_shows_what_a_judge_scored_and_whether_it_decides(
    client: TestClient, experiment_id: str
) -> None:
    text = client.get(f"/experiments/{experiment_id}").text
    assert "<strong>Not qualified</strong>: its scores decide nothing." in text
    assert "It ranks answers no better than chance." in text
    assert "3.16 to 3.25" in text
    assert "2.2 %" in text
    assert "Ties" in text


def test_the_answers_of_all_arms_stand_side_by_side_the_baseline_first(
    client: TestClient, experiment_id: str
) -> None:
    text = client.get(f"/experiments/{experiment_id}/rows").text
    assert "45 questions, 1 to 20 shown." in text
    assert text.index("base says 0 retrieved") < text.index("qa says 0 retrieved")
    assert "closed_book" not in text.replace('value="closed_book"', "")


def test_text_of_a_model_is_shown_as_text(client: TestClient, experiment_id: str) -> None:
    text = client.get(f"/experiments/{experiment_id}/rows").text
    assert HOSTILE not in text
    assert "&lt;script&gt;alert(&#39;answer&#39;)&lt;/script&gt;" in text
    assert "<img src=x" not in text


def test_rows_can_be_asked_for_by_condition_arm_and_page(
    client: TestClient, experiment_id: str
) -> None:
    rows = f"/experiments/{experiment_id}/rows"
    closed = client.get(rows, params={"condition": "closed_book", "arm": "qa", "page": 3}).text
    assert "45 questions, 41 to 45 shown." in closed
    assert "qa says 44 closed_book" in closed
    assert "base says 44" not in closed
    assert "Page 3 of 3" in closed
    assert "condition=closed_book&amp;arm=qa&amp;outcome=all" in closed


def test_rows_can_be_narrowed_to_what_tuning_lost_or_gained(
    client: TestClient, experiment_id: str
) -> None:
    rows = f"/experiments/{experiment_id}/rows"
    lost = client.get(rows, params={"outcome": "lost"}).text
    assert "qa says 1 " in lost
    assert "1 question, 1 to 1 shown." in lost
    gained = client.get(rows, params={"outcome": "gained"}).text
    assert "qa says 2 " in gained
    assert "1 question, 1 to 1 shown." in gained


def test_a_page_past_the_end_is_the_last_one(client: TestClient, experiment_id: str) -> None:
    text = client.get(f"/experiments/{experiment_id}/rows", params={"page": 99}).text
    assert "Page 3 of 3" in text
    assert "qa says 44" in text


def test_a_job_page_draws_its_loss_and_says_it_in_words(client: TestClient) -> None:
    text = client.get("/jobs/ftjob_1").text
    assert "Training loss fell from 3 at step 1 to 1 at step 3." in text
    assert "<polyline" in text
    assert "200 rows are valid." in text
    assert "13 of 50 steps, about 2 min left" in text
    assert '<progress aria-label="Steps done" value="0.2600" max="1">' in text


def test_an_adapter_page_says_its_proof_in_words(client: TestClient) -> None:
    text = client.get(f"/adapters/{samples.QA}").text
    assert "210 of 210 LoRA modules in the file have their place in the base model." in text
    assert "moves by up to 3.3 nats" in text
    assert "differ by at most 0.0042 nats; 0.05 is tolerated." in text


@pytest.mark.parametrize(
    "path",
    [
        "/experiments/exp_none",
        "/experiments/exp_none/rows",
        "/jobs/ftjob_none",
        "/adapters/ft:none",
        "/nowhere",
    ],
)
def test_what_is_not_there_is_a_page_for_a_browser(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "Nothing here" in page.text


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/..",
        "/jobs/%2e%2e",
        "/jobs/a%2Fb",
        "/jobs/a%3Fb",
        "/jobs/%00",
        "/adapters/ft:..%2F..%2Fmetrics",
        "/adapters/ft:a%3Fx=1",
        "/experiments/%00",
        "/experiments/exp_1/rows?page=0",
        "/experiments/exp_1/rows?condition=%27",
        "/experiments?after=%00",
        "/experiments/" + "x" * 300,
    ],
)
def test_an_id_that_could_not_be_one_is_refused_without_a_traceback(
    client: TestClient, path: str
) -> None:
    page = client.get(path)
    assert 400 <= page.status_code < 500 or page.url.path in ("/", "/jobs")
    assert "Traceback" not in page.text


def test_programs_keep_getting_the_envelope(client: TestClient) -> None:
    answer = client.get("/jobs/ftjob_none", headers={"Accept": "application/json"})
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "There is no fine-tuning job 'ftjob_none'."
    assert client.get("/v1/experiments/exp_none").json()["error"]["code"] == "experiment_not_found"


def test_the_services_own_paths_stay_what_they_were(client: TestClient) -> None:
    assert client.get("/healthz").json()["service"] == "evaluator"
    assert client.get("/readyz").json()["status"] == "ready"
    assert "fineproof_http_requests_total" in client.get("/metrics").text
    assert "/jobs/{job_id}" not in client.get("/openapi.json").json()["paths"]


def test_assets_are_kept_by_browsers_and_change_their_address_with_their_content(
    client: TestClient,
) -> None:
    text = client.get("/").text
    start = text.index("/assets/")
    address = text[start : text.index('"', start)]
    asset = client.get(address)
    assert asset.status_code == 200
    assert "immutable" in asset.headers["cache-control"]
    assert client.get("/assets/x/../../pages.py").status_code == 404
    assert client.get("/assets/x/%2e%2e/pages.py").status_code == 404
