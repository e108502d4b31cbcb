"""Evals over HTTP: kept, listed, changed, and refused with a sentence."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from services.common.db import Database
from services.evaluator.evals import service, storage
from services.evaluator.evals.item_schema import Budget, ItemSchema
from services.evaluator.evals.models import EvalRow, RunRow
from tests.migrations import assert_migrated
from tests.services.evaluator.evals.conftest import (
    CUSTOM,
    EXACT,
    ITEMS,
    SCHEMA,
    Bench,
    evaluation,
    given,
    sampled,
)
from tests.services.evaluator.evals.standins import BASE, lines


def test_the_tables_are_as_the_code_describes_them(db: Database) -> None:
    engine: Engine = db.engine
    assert_migrated(engine, EvalRow.metadata)


async def test_an_eval_is_shown_with_the_schema_of_what_templates_may_name(bench: Bench) -> None:
    created = await bench.post("", evaluation(metadata={"team": "search"}))
    assert created["id"].startswith("eval_")
    assert created["object"] == "eval"
    assert created["testing_criteria"] == [EXACT]
    assert created["data_source_config"]["type"] == "custom"
    assert created["data_source_config"]["schema"]["properties"]["item"] == SCHEMA
    assert "sample" in created["data_source_config"]["schema"]["properties"]
    assert await bench.get(f"/{created['id']}") == created


async def test_evals_page_in_the_order_asked_for(bench: Bench) -> None:
    ids = [(await bench.post("", evaluation(name=name)))["id"] for name in "abc"]
    changed = await bench.post(f"/{ids[0]}", {"name": "z", "metadata": {"a": "b"}}, 200)
    assert (changed["name"], changed["metadata"]) == ("z", {"a": "b"})

    async def listed(**query: str) -> list[str]:
        found: list[str] = []
        while True:
            after = {"after": found[-1]} if found else {}
            page = (await bench.http.get("/v1/evals", params={"limit": 2, **query, **after})).json()
            found += [each["id"] for each in page["data"]]
            if not page["has_more"]:
                return found

    assert await listed() == ids
    assert await listed(order="desc") == ids[::-1]
    assert await listed(order_by="updated_at") == [ids[1], ids[2], ids[0]]
    assert await listed(order_by="updated_at", order="desc") == [ids[0], ids[2], ids[1]]


async def test_runs_are_listed_by_status_and_deleted_once_they_have_ended(bench: Bench) -> None:
    run = await bench.finish(given((ITEMS[0], "2")))
    path = f"/{run.eval_id}/runs"
    waiting = await bench.post(path, {"data_source": sampled(), "name": "second"})
    assert [each["id"] for each in (await bench.get(path))["data"]] == [run.id, waiting["id"]]
    queued = (await bench.get(f"{path}?status=queued"))["data"]
    assert [each["name"] for each in queued] == ["second"]
    assert queued[0]["data_source"]["source"]["content"] == []
    assert waiting["data_source"] == sampled()

    assert (await bench.http.delete(f"/v1/evals/{run.eval_id}")).status_code == 409
    assert (await bench.http.delete(f"/v1/evals{path}/{waiting['id']}")).status_code == 409
    # OpenAI's 1.99.9 cancels by the run's own path.
    assert (await bench.post(f"{path}/{waiting['id']}", {}, 200))["status"] == "canceled"
    assert (await bench.post(f"{path}/{waiting['id']}/cancel", {}, 200))["status"] == "canceled"
    finished = await bench.refused(f"{path}/{run.id}/cancel", {}, 409)
    assert finished["code"] == "run_finished"
    deleted = (await bench.http.delete(f"/v1/evals{path}/{run.id}")).json()
    assert deleted == {"object": "eval.run.deleted", "deleted": True, "run_id": run.id}
    deleted = (await bench.http.delete(f"/v1/evals/{run.eval_id}")).json()
    assert deleted == {"object": "eval.deleted", "deleted": True, "eval_id": run.eval_id}
    assert (await bench.http.get(f"/v1/evals{path}")).status_code == 404


async def somebody_waits(db: Database) -> None:
    waiting = text(
        "select 1 from pg_stat_activity "
        "where wait_event_type = 'Lock' and datname = current_database()"
    )
    while True:
        with db.transaction() as session:
            if session.scalar(waiting):
                return
        await asyncio.sleep(0.01)


async def test_an_eval_is_deleted_before_a_run_of_it_is_made_or_not_at_all(bench: Bench) -> None:
    eval_id = (await bench.post("", evaluation()))["id"]
    url = f"/v1/evals/{eval_id}"
    with bench.db.transaction() as session:
        source = {"type": "jsonl", "source": {"type": "file_id", "id": "file-1"}}
        run = RunRow(id="evalrun_1", eval_id=eval_id, name="", model="", data_source=source)
        storage.add(session, run)
        deleting = asyncio.create_task(bench.http.delete(url))
        await somebody_waits(bench.db)
    assert (await deleting).json()["error"]["code"] == "eval_active"

    await bench.post(f"/{eval_id}/runs/evalrun_1/cancel", {}, 200)
    with bench.db.transaction() as session:
        service.delete(session, eval_id)
        making = asyncio.create_task(
            bench.http.post(f"{url}/runs", json={"data_source": sampled()})
        )
        await somebody_waits(bench.db)
    made = await making
    assert made.status_code == 404
    assert made.json()["error"]["code"] == "eval_not_found"


@pytest.mark.parametrize("path", ["", "/runs/evalrun_1", "/runs/evalrun_1/output_items"])
async def test_what_is_not_there_is_not_found(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(f"/v1/evals/eval_1{path}")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "eval_not_found" if not path else "run_not_found"


LABEL = {
    "type": "label_model",
    "name": "tone",
    "model": BASE,
    "input": [{"role": "user", "content": "{{sample.output_text}}"}],
    "labels": ["good", "bad"],
    "passing_labels": ["good"],
}


async def test_evals_that_cannot_be_are_refused_with_a_sentence(bench: Bench) -> None:
    multi = {"type": "multi", "name": "m", "graders": {"a": EXACT}, "calculate_output": "a"}
    score = {key: LABEL[key] for key in ("name", "model", "input")} | {"type": "score_model"}
    python = {"type": "python", "name": "p", "source": "def grade(s, i): return 1"}
    alike = {
        "type": "text_similarity",
        "name": "alike",
        "input": "a",
        "reference": "b",
        "evaluation_metric": "bleu",
        "pass_threshold": 0.5,
    }
    cases: list[tuple[dict[str, Any], str, str]] = [
        (python, "python_grader_refused", "no sandbox is configured"),
        (multi | {"graders": [python]}, "python_grader_refused", "Grader 'p'"),
        (multi | {"calculate_output": "b"}, "invalid_formula", "there is no grader 'b'"),
        (multi | {"calculate_output": "sqrt(a, a)"}, "invalid_formula", "sqrt takes 1, not 2"),
        (
            multi | {"graders": [EXACT, EXACT]},
            "invalid_value",
            "two of its graders are named 'exact'",
        ),
        (score | {"range": [-1e308, 1e308]}, "invalid_value", "its range is too wide"),
        (EXACT | {"operation": "matches"}, "invalid_value", "operation"),
        (EXACT | {"input": "{{sampel.output_text}}"}, "invalid_template", "sampel"),
        (EXACT | {"input": "x" * 200_000}, "invalid_value", "100000"),
        (EXACT | {"type": "vibes"}, "invalid_value", "string_check"),
        (EXACT | {"extra": 1}, "unknown_parameter", "extra"),
        (alike | {"pass_threshold": None}, "invalid_value", "pass_threshold"),
        (alike | {"evaluation_metric": "cosine"}, "no_embedding_model", "embedding model"),
        (LABEL | {"model": "gpt-9"}, "model_not_found", "GET /v1/models"),
        (LABEL | {"passing_labels": ["fine"]}, "invalid_value", "'fine' is not one"),
        (
            LABEL | {"input": [{"role": "user", "content": {"type": "input_image"}}]},
            "unsupported_parameter",
            "input_image",
        ),
        (
            LABEL | {"type": "score_model", "range": [1, 0]},
            "unknown_parameter",
            "labels",
        ),
    ]
    for criterion, code, words in cases:
        error = await bench.refused("", evaluation(testing_criteria=[criterion]))
        assert error["code"] == code, error
        assert words in error["message"], error
    error = await bench.refused("", evaluation(testing_criteria=[EXACT, EXACT]))
    assert "two criteria are named 'exact'" in error["message"]
    error = await bench.refused("", evaluation(testing_criteria=[]))
    assert error["param"] == "testing_criteria"
    config = CUSTOM | {"item_schema": {"$ref": "http://example.com/"}}
    error = await bench.refused("", evaluation(data_source_config=config))
    assert error["code"] == "invalid_schema"
    assert (await bench.get(""))["data"] == []


async def test_runs_that_cannot_be_are_refused_with_a_sentence(bench: Bench) -> None:
    eval_id = (await bench.post("", evaluation()))["id"]
    bench.world.files["file-1"] = ("evals", lines(*ITEMS) + '\n{"item": {"question": 1}}')
    bench.world.files["file-2"] = ("fine-tune", lines(*ITEMS))
    stored = {"type": "stored_completions", "model": "x"}
    cases: list[tuple[dict[str, Any], str, str]] = [
        (sampled("gpt-9"), "model_not_found", "'gpt-9'"),
        (sampled(items=[{"question": "1"}]), "invalid_items", "Item 0 of the data"),
        (sampled(items=[]), "invalid_items", "no items"),
        (sampled() | {"source": stored}, "unsupported_parameter", "file_content"),
        (sampled() | {"source": {"type": "file_id", "id": "file-1"}}, "invalid_items", "Line 7"),
        (
            sampled() | {"source": {"type": "file_id", "id": "file-2"}},
            "invalid_file_purpose",
            "evals",
        ),
        (
            sampled() | {"source": {"type": "file_id", "id": "file-3"}},
            "file_not_found",
            "/v1/files",
        ),
        (sampled() | {"source": {"type": "file_id", "id": "../x"}}, "invalid_value", "id"),
        (sampled() | {"sampling_params": {"temperature": 9}}, "invalid_value", "temperature"),
        (
            sampled() | {"sampling_params": {"tools": [{"type": "web_search"}]}},
            "unsupported_parameter",
            "function",
        ),
        *(
            (
                sampled()
                | {"input_messages": {"type": "item_reference", "item_reference": reference}},
                "invalid_template",
                f"'{reference}' names no part of the item",
            )
            for reference in (
                "sample.x",
                "{{item.question}}",
                "x{",
                "item.question}} {{item.answer",
                " item.question",
            )
        ),
        ({k: v for k, v in sampled().items() if k != "model"}, "missing_required_parameter", ""),
        ({"type": "magic"}, "invalid_value", "jsonl"),
    ]
    for source, code, words in cases:
        error = await bench.refused(f"/{eval_id}/runs", {"data_source": source})
        assert error["code"] == code, error
        assert words in error["message"], error
    assert (await bench.refused("/eval_1/runs", {"data_source": sampled()}, 404))["code"] == (
        "eval_not_found"
    )
    nul = sampled(items=[{"question": "\x00", "answer": "1"}])
    assert "NUL" in (await bench.refused(f"/{eval_id}/runs", {"data_source": nul}))["message"]
    assert (await bench.get(f"/{eval_id}/runs"))["data"] == []


async def test_what_nests_too_deep_to_be_shown_is_refused_with_a_sentence(bench: Bench) -> None:
    deep: dict[str, Any] = {}
    for _ in range(300):
        deep = {"a": deep}
    any_item = CUSTOM | {"item_schema": {"type": "object"}}
    eval_id = (await bench.post("", evaluation(data_source_config=any_item)))["id"]
    tool, form = {"type": "function", "parameters": deep}, {"type": "json_schema", "schema": deep}
    answers = sampled() | {"type": "responses"}
    content = [{"item": {}, "sample": deep}]
    part = {"type": "input_text", "text": "a", "more": deep}
    template = {"type": "template", "template": [{"role": "user", "content": part}]}
    for source in (
        sampled(items=[deep]),
        {"type": "jsonl", "source": {"type": "file_content", "content": content}},
        sampled() | {"sampling_params": {"response_format": form}},
        sampled() | {"sampling_params": {"tools": [tool]}},
        answers | {"sampling_params": {"text": {"format": form}}},
        sampled() | {"input_messages": template},
    ):
        error = await bench.refused(f"/{eval_id}/runs", {"data_source": source})
        assert error["code"] == "invalid_value"
        assert "100 levels" in error["message"]
    for kind in ("logs", "stored_completions"):
        config = {"type": kind, "metadata": deep}
        error = await bench.refused("", evaluation(data_source_config=config))
        assert "100 levels" in error["message"]


async def test_configs_for_logs_take_items_of_any_shape(bench: Bench) -> None:
    for kind in ("logs", "stored_completions"):
        config = {"type": kind, "metadata": {"usecase": "chat"}}
        run = await bench.finish(given(({"answer": "2"}, "2")), data_source_config=config)
        assert run.result_counts.passed == 1
        shown = (await bench.get(f"/{run.eval_id}"))["data_source_config"]
        assert shown["type"] == kind
        assert set(shown["schema"]["properties"]) == {"item", "sample"}


async def test_others_are_answered_while_data_are_held_against_a_schema(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked_by: set[int] = set()
    fault = ItemSchema.fault

    def noting(self: ItemSchema, item: dict[str, Any], budget: Budget) -> str | None:
        checked_by.add(threading.get_ident())
        return fault(self, item, budget)

    monkeypatch.setattr(ItemSchema, "fault", noting)
    eval_id = (await bench.post("", evaluation()))["id"]
    bench.world.files["file-1"] = ("evals", lines(*ITEMS))
    for source in (sampled(), sampled() | {"source": {"type": "file_id", "id": "file-1"}}):
        await bench.post(f"/{eval_id}/runs", {"data_source": source})
    assert checked_by
    assert threading.get_ident() not in checked_by
