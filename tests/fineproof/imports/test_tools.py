"""Results of other tools, in the shapes they write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fineproof.comparison.conftest import Compare, Write
from tests.fineproof.comparison.conftest import compare as compare
from tests.fineproof.comparison.conftest import write as write

RIGHT = [n % 2 == 0 for n in range(24)]
WRONG = [False] * 24
GRADER = "String check-a2486074-d803-4445-b431-ad2262e85d47"


def output_item(n: int, passed: bool, run: str, *more: dict[str, Any]) -> dict[str, Any]:
    """As ``GET /v1/evals/{id}/runs/{id}/output_items`` lists them."""
    return {
        "object": "eval.run.output_item",
        "id": f"outputitem_{run}_{n}",
        "created_at": 1743092076,
        "run_id": f"evalrun_{run}",
        "eval_id": "eval_67abd54d9b0081909a86353f6fb9317a",
        "status": "pass" if passed else "fail",
        "datasource_item_id": n,
        "datasource_item": {"input": f"Headline {n}", "ground_truth": "Markets"},
        "results": [
            {"name": GRADER, "sample": None, "passed": passed, "score": float(passed)},
            *more,
        ],
        "sample": {
            "input": [{"role": "user", "content": f"Headline {n}"}],
            "output": [{"role": "assistant", "content": "Markets" if passed else "Sports"}],
            "finish_reason": "stop",
            "model": "gpt-4o-mini",
            "usage": {"total_tokens": 325, "completion_tokens": 2, "prompt_tokens": 323},
            "error": None,
        },
    }


def page(passed: list[bool], run: str, **more: Any) -> dict[str, Any]:
    items = [output_item(n, one, run) for n, one in enumerate(passed)]
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"],
        "last_id": items[-1]["id"],
        "has_more": False,
    } | more


def test_output_items_of_openai_evals_as_lines_and_as_a_page(compare: Compare) -> None:
    lines = [output_item(n, one, "b") for n, one in enumerate(RIGHT)]
    told = compare(lines, page(WRONG, "t"))
    assert (told.result["verdict"], told.result["diff"]) == ("HURTS", -0.5)
    assert told.result["files"]["base"]["format"] == "openai-evals"
    assert told.result["paired_by"] == "datasource_item_id"
    for score in ("passed", "String check", "String check.passed", GRADER):
        assert compare(lines, page(WRONG, "t"), "--score", score).result["diff"] == -0.5


def test_several_graders_must_be_chosen_from_and_failed_samples_are_unscored(
    compare: Compare,
) -> None:
    judge = {"name": "judge", "type": "score_model", "passed": True, "score": 0.9, "sample": None}
    items = [output_item(n, one, "b", judge) for n, one in enumerate(RIGHT)]
    items[3] |= {"results": [], "status": "error"}
    refused = compare(items, items)
    assert refused.code == 3
    assert "--score: String check, judge, passed" in " ".join(refused.stderr.split())
    told = compare(items, items, "--score", "judge")
    assert (told.result["n"], told.result["unscored"]) == (23, 1)


def test_a_page_that_is_not_the_last_is_refused(compare: Compare) -> None:
    assert (
        "one page of several" in compare(page(RIGHT, "b", has_more=True), page(RIGHT, "t")).stderr
    )


def test_runs_over_other_items_are_not_compared(compare: Compare) -> None:
    other = page(WRONG, "t")
    other["data"][4]["datasource_item"] = {"input": "Another headline", "ground_truth": "Sports"}
    told = compare(page(RIGHT, "b"), other)
    assert told.code == 3
    assert "item '4' is one question" in " ".join(told.stderr.split())


def promptfoo(passed: list[bool], provider: str, prompt: int = 0) -> list[dict[str, Any]]:
    """The results in ``promptfoo eval -o results.json``, version 3."""
    return [
        {
            "cost": 0,
            "failureReason": 0 if one else 1,
            "gradingResult": {"pass": one, "score": float(one), "reason": "", "namedScores": {}},
            "id": f"5a7c-{provider}-{n}",
            "latencyMs": 5,
            "namedScores": {"brevity": 0.25},
            "prompt": {"raw": f"Answer: {n}", "label": "Answer: {{question}}"},
            "promptId": "f3f4",
            "promptIdx": prompt,
            "provider": {"id": f"openai:{provider}", "label": ""},
            "response": {"output": "…"},
            "score": float(one),
            "success": one,
            "testCase": {"vars": {"question": str(n)}, "assert": [], "options": {}, "metadata": {}},
            "testIdx": n,
            "vars": {"question": str(n)},
        }
        for n, one in enumerate(passed)
    ]


def document(results: list[dict[str, Any]]) -> str:
    inner = {
        "version": 3,
        "timestamp": "2025-08-01",
        "prompts": [],
        "results": results,
        "stats": {},
    }
    return json.dumps(
        {"evalId": "eval-abc", "results": inner, "config": {}, "shareableUrl": None}, indent=2
    )


def test_results_of_promptfoo(compare: Compare) -> None:
    base, tuned = promptfoo(RIGHT, "base"), promptfoo(WRONG, "tuned")
    told = compare(document(base), document(tuned))
    assert (told.result["verdict"], told.result["diff"]) == ("HURTS", -0.5)
    assert told.result["files"]["tuned"]["format"] == "promptfoo"
    assert compare(base, tuned, "--score", "success").result["diff"] == -0.5  # -o results.jsonl
    assert compare(base, tuned, "--score", "namedScores.brevity").result["base"] == 0.25


def test_results_of_promptfoo_without_positions_are_paired_by_their_variables(
    compare: Compare,
) -> None:
    base, tuned = promptfoo(RIGHT, "base"), promptfoo(WRONG, "tuned")[::-1]
    for result in (*base, *tuned):
        del result["testIdx"], result["promptIdx"]
    assert compare(document(base), document(tuned)).result["diff"] == -0.5


def test_two_providers_in_one_file_of_promptfoo_are_told_apart(
    compare: Compare, write: Write
) -> None:
    both = write("r.json", document([*promptfoo(RIGHT, "base"), *promptfoo(WRONG, "tuned", 1)]))
    assert "--where provider=… (openai:base, openai:tuned)" in " ".join(
        compare(both, both).stderr.split()
    )
    sides = ("--base-where", "provider=openai:base", "--tuned-where", "provider=openai:tuned")
    assert compare(both, both, *sides).result["verdict"] == "HURTS"


def test_an_error_in_promptfoo_is_unscored_and_not_0(compare: Compare) -> None:
    broken = promptfoo(RIGHT, "tuned")
    for result in broken[:4]:
        result |= {"failureReason": 2, "error": "API error: 500", "score": 0, "success": False}
    told = compare(document(promptfoo(RIGHT, "base")), document(broken))
    assert (told.result["unscored"], told.result["n"], told.result["diff"]) == (4, 20, 0)


def sample(n: int, right: bool, filter_name: str = "none") -> dict[str, Any]:
    """A line of lm-evaluation-harness 0.4's ``samples_<task>_<time>.jsonl``."""
    return {
        "doc_id": n,
        "doc": {"question": f"q{n}"},
        "target": "A",
        "arguments": {"gen_args_0": {"arg_0": f"q{n}"}},
        "resps": [["A"]],
        "filtered_resps": ["A"],
        "filter": filter_name,
        "metrics": ["exact_match"],
        "doc_hash": f"{n:064x}",
        "prompt_hash": "p" * 64,
        "target_hash": "t" * 64,
        "exact_match": float(right),
    }


def test_samples_of_lm_eval_find_their_metric_and_take_doc_id_for_the_item(
    compare: Compare,
) -> None:
    base = [sample(n, one) for n, one in enumerate(RIGHT)]
    told = compare(base, [sample(n, one) for n, one in enumerate(WRONG)])
    assert (told.result["score"], told.result["verdict"]) == ("exact_match", "HURTS")
    assert (told.result["clusters"], told.result["clustered_by"]) == (24, None)
    assert told.result["files"]["base"]["format"] == "lm-eval"


def test_filters_of_lm_eval_are_chosen_from(compare: Compare) -> None:
    rows = [sample(n, one, name) for n, one in enumerate(RIGHT) for name in ("strict", "flexible")]
    refused = compare(rows, rows)
    assert "--where filter=… (flexible, strict)" in " ".join(refused.stderr.split())
    assert compare(rows, rows, "--where", "filter=strict").result["n"] == 24


def test_a_folder_or_results_of_lm_eval_stand_for_the_samples_beside_them(
    compare: Compare, tmp_path: Path
) -> None:
    for run, passed in (("base", RIGHT), ("tuned", WRONG)):
        for time in ("2024-01-01T00-00-00.000001", "2025-01-01T00-00-00.000001"):
            for task in ("arc_easy", "sciq"):
                lines = [sample(n, one and "2025" in time) for n, one in enumerate(passed)]
                file = tmp_path / run / "model" / f"samples_{task}_{time}.jsonl"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("".join(json.dumps(line) + "\n" for line in lines))
            summary = {"results": {"sciq": {"acc,none": 0.5}}, "configs": {}, "versions": {}}
            (file.parent / f"results_{time}.json").write_text(json.dumps(summary))
    told = compare(tmp_path / "base", tmp_path / "tuned")
    assert (told.result["n"], told.result["diff"]) == (48, -0.5)  # the newer run of each task
    one = compare(tmp_path / "base", tmp_path / "tuned", "--where", "task=sciq")
    assert one.result["n"] == 24
    old = "model/results_2024-01-01T00-00-00.000001.json"
    assert compare(tmp_path / "base" / old, tmp_path / "tuned" / old).result["base"] == 0
    lonely = tmp_path / "results_lonely.json"
    lonely.write_text(json.dumps(summary))
    told = compare(lonely, lonely)
    assert told.code == 3
    assert "--log_samples" in told.stderr


@pytest.mark.parametrize("tool", ["openai-evals", "promptfoo", "lm-eval"])
def test_a_file_that_another_tool_wrote_is_refused(compare: Compare, tool: str) -> None:
    rows = [{"id": 1, "score": 1}]
    told = compare(rows, rows, "--from", tool)
    assert told.code == 3
    assert "line 1 is not one of the" in " ".join(told.stderr.split())


def test_two_tools_are_not_mixed(compare: Compare) -> None:
    told = compare(promptfoo(RIGHT, "base"), [sample(n, True) for n in range(24)])
    assert told.code == 3
    assert "looks like promptfoo" in told.stderr
