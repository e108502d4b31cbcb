"""The demo's path through the front door, with a small budget and the stock client."""

import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from services.common.contracts.evaluator import Report
from tests.e2e.conftest import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

BASE = "smollm2-135m-instruct"


def test_everything_is_ready(stack: RunningStack) -> None:
    status = json.loads(stack.fineproof("status", "--json").stdout)
    assert {process["state"] for process in status["processes"]} == {"ready"}


def test_a_second_up_says_that_it_is_up(stack: RunningStack) -> None:
    again = stack.fineproof("up", "--detach")
    assert again.returncode == 0
    assert "Already up" in again.stdout


def test_the_base_model_is_listed_and_chats(client: openai.OpenAI) -> None:
    assert BASE in [model.id for model in client.models.list()]
    answer = client.chat.completions.create(
        model=BASE,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        max_tokens=12,
        temperature=0,
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 12


def test_a_chat_streams_in_many_pieces(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=BASE,
        messages=[{"role": "user", "content": "Count to ten."}],
        max_tokens=16,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert len([chunk for chunk in chunks if chunk.choices]) > 3
    assert chunks[-1].usage is not None


@pytest.fixture(scope="module")
def job(client: openai.OpenAI, handbook: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    pairs = tmp_path_factory.mktemp("pairs") / "train.jsonl"
    with (handbook / "train.jsonl").open() as source:
        pairs.write_text("".join(islice(source, 12)))
    with pairs.open("rb") as source:
        uploaded = client.files.create(file=source, purpose="fine-tune")
    created = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=uploaded.id,
        suffix="walk",
        seed=7,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 4}},
        },
    )
    deadline = time.monotonic() + 600
    while created.status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() < deadline, created
        time.sleep(1)
        created = client.fine_tuning.jobs.retrieve(created.id)
    return created


def test_a_job_by_the_stock_client_ends_in_an_adapter(client: openai.OpenAI, job: Any) -> None:
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model == f"ft:{BASE}:walk:{job.id}"
    assert job.trained_tokens > 0
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=50))
    losses = [event.data["train_loss"] for event in events if event.type == "metrics"]
    assert losses
    assert all(loss > 0 for loss in losses)
    assert client.files.content(job.result_files[0]).text.startswith("step,")


def test_the_tuned_model_answers_by_its_name(client: openai.OpenAI, job: Any) -> None:
    answer = client.chat.completions.create(
        model=job.fine_tuned_model,
        messages=[{"role": "user", "content": "Who are you?"}],
        max_tokens=8,
    )
    assert answer.model == job.fine_tuned_model
    cards = {model.id: model for model in client.models.list()}
    assert cards[job.fine_tuned_model].parent == BASE  # type: ignore[attr-defined]


def test_an_experiment_runs_from_a_folder_and_goes_on_where_it_stopped(
    stack: RunningStack, handbook: Path, tmp_path: Path
) -> None:
    arguments = ["experiment", "run", "studies/demo.yaml", "--data", str(handbook)]
    arguments += ["--pairs", "12", "--items", "4", "--out", str(tmp_path)]
    ran = stack.fineproof(*arguments, timeout=1000)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "verdict" in ran.stdout

    report = Report.model_validate_json((tmp_path / "report.json").read_text())
    assert [arm.name for arm in report.arms] == ["base", "qa", "rag"]
    assert report.conditions == ["closed_book", "retrieved", "oracle"]
    assert report.counts.items == 4
    assert report.counts.answers == 4 * 3 * 3
    made = {arm.name: arm for arm in report.arms if arm.job_id is not None}
    assert {name: arm.recipe for name, arm in made.items()} == {"qa": "qa", "rag": "rag"}
    assert report.timings["tuning"] > 0
    assert {(losses.arm, losses.condition) for losses in report.losses} == {
        (arm, condition) for arm in made for condition in ("retrieved", "oracle")
    }
    assert len(report.adapter_proofs) == 2
    for proof in report.adapter_proofs:
        assert proof.modules_matched == proof.modules_in_file == 210
        assert proof.max_abs_logprob_delta > 0
        assert proof.peft_max_abs_diff <= proof.tolerance
    primary = [c for c in report.comparisons if c.primary]
    assert len(primary) == 2 * 3 * 2
    for comparison in primary:
        assert comparison.ci95[0] <= comparison.diff <= comparison.ci95[1]
        assert comparison.diff == pytest.approx(comparison.tuned - comparison.base)
    rows = [json.loads(line) for line in (tmp_path / report.rows).read_text().splitlines()]
    assert len(rows) == report.counts.answers
    by_question: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        by_question.setdefault((row["item_id"], row["condition"]), set()).add(row["prompt_sha256"])
    assert all(len(prompts) == 1 for prompts in by_question.values()), "arms saw other prompts"
    assert "<script src" not in (tmp_path / "report.html").read_text()

    again = stack.fineproof(*arguments, timeout=100)
    assert again.returncode == 0, again.stdout + again.stderr
    repeated = Report.model_validate_json((tmp_path / "report.json").read_text())
    assert repeated.experiment_id == report.experiment_id


def test_a_cited_answer_points_into_its_passages(stack: RunningStack, handbook: Path) -> None:
    passages = [json.loads(line) for line in (handbook / "corpus.jsonl").open()][:2]
    answer = httpx.post(
        f"{stack.url}/v1/rag/query",
        json={
            "question": f"What does the handbook say of {passages[0]['title']}?",
            "passages": [{key: row[key] for key in ("id", "title", "text")} for row in passages],
            "max_tokens": 48,
        },
        timeout=120,
    ).json()
    assert [passage["id"] for passage in answer["passages"]] == [row["id"] for row in passages]
    texts = {row["id"]: row["text"] for row in passages}
    for citation in answer["citations"]:
        span = texts[citation["passage_id"]][citation["passage_start"] : citation["passage_end"]]
        assert span == citation["quote"]


def test_a_file_search_answers_from_the_handbook(
    stack: RunningStack, client: openai.OpenAI, handbook: Path
) -> None:
    with (handbook / "corpus.jsonl").open() as corpus:
        passages = [json.loads(line) for line in islice(corpus, 20)]
    store = client.vector_stores.create(name="walk").id
    lines = "".join(json.dumps(passage) + "\n" for passage in passages)
    sent = httpx.post(f"{stack.url}/v1/vector_stores/{store}/passages", content=lines, timeout=60)
    assert sent.status_code == 202, sent.text
    deadline = time.monotonic() + 120
    while client.vector_stores.retrieve(store).status != "completed":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with client.responses.stream(
        model=BASE,
        input=f"What does the handbook say of {passages[0]['title']}?",
        tools=[{"type": "file_search", "vector_store_ids": [store], "max_num_results": 2}],
        include=["file_search_call.results"],
        max_output_tokens=48,
        temperature=0,
    ) as stream:
        events = list(stream)
    response: Any = events[-1].response  # type: ignore[union-attr]
    assert response.status in ("completed", "incomplete")
    search, message = response.output
    assert len(search.results) == 2
    texts = {passage["id"]: passage["text"] for passage in passages}
    for citation in message.content[0].annotations:
        span = texts[citation.passage_id][citation.passage_start : citation.passage_end]
        assert span == citation.quote


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/files", {"purpose": "fine-tune"}, 400),
        ("GET", "/v1/files/file_none", None, 404),
        ("POST", "/v1/fine_tuning/jobs", {"model": BASE}, 400),
        ("POST", "/v1/fine_tuning/jobs", {"model": BASE, "training_file": "file_none"}, 404),
        ("GET", "/v1/fine_tuning/jobs/ftjob_none", None, 404),
        ("POST", "/v1/chat/completions", {"model": "nobody", "messages": []}, 404),
        ("POST", "/v1/chat/completions", {"model": BASE, "messages": "hello"}, 400),
        ("POST", "/v1/rag/query", {"question": "Why?"}, 400),
        ("POST", "/v1/rag/query", {"question": "?", "vector_store_id": "vs_none"}, 404),
        ("POST", "/v1/responses", {"input": []}, 400),
        ("POST", "/v1/responses", {"input": "?", "model": "nobody"}, 404),
        ("GET", "/v1/responses/resp_none", None, 404),
        ("POST", "/v1/adapters", {"name": "ft:none"}, 404),
        ("POST", "/v1/vector_stores/vs_none/search", {"query": "x"}, 404),
        ("POST", "/v1/experiments", {"name": "x"}, 400),
        ("GET", "/v1/experiments/exp_none/report", None, 404),
        ("GET", "/v1/judges/none", None, 404),
    ],
)
def test_bad_input_gets_the_envelope_at_the_front_door(
    stack: RunningStack, method: str, path: str, body: Any, status: int
) -> None:
    response = httpx.request(method, stack.url + path, json=body, timeout=60)
    assert response.status_code == status, response.text
    assert set(response.json()["error"]) >= {"message", "type", "code", "param"}


@pytest.mark.parametrize("path", ["/", "/jobs", "/adapters", "/experiments"])
def test_the_dashboard_is_at_the_front_door(stack: RunningStack, path: str) -> None:
    page = httpx.get(stack.url + path, headers={"Accept": "text/html"}, timeout=60)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
