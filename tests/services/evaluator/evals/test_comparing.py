"""Two runs over the same data, with a verdict."""

from typing import Any

from tests.services.evaluator.evals.conftest import EXACT, Bench, evaluation, given

COUNT = 40


def answers(right: int) -> dict[str, Any]:
    """The first ``right`` of the answers are; questions come in documents of two."""
    return given(
        *(
            ({"question": str(n), "answer": "yes", "doc": n // 2}, "yes" if n < right else "no")
            for n in range(COUNT)
        )
    )


async def ran(bench: Bench, eval_id: str, source: dict[str, Any]) -> str:
    run = await bench.post(f"/{eval_id}/runs", {"data_source": source})
    await bench.work(run["id"])
    return str(run["id"])


async def test_a_better_run_helps_a_worse_one_hurts_and_the_same_is_equivalent(
    bench: Bench,
) -> None:
    alike = {
        "type": "text_similarity",
        "name": "alike",
        "input": "{{sample.output_text}}",
        "reference": "{{item.answer}}",
        "evaluation_metric": "fuzzy_match",
        "pass_threshold": 0.5,
    }
    eval_id = (await bench.post("", evaluation(testing_criteria=[EXACT, alike])))["id"]
    worse, better = await ran(bench, eval_id, answers(10)), await ran(bench, eval_id, answers(30))
    path = f"/{eval_id}/compare"
    ask = {"base_run": worse, "tuned_run": better}
    found = await bench.post(path, ask, 200)
    assert [each["verdict"] for each in found["criteria"]] == ["HELPS", "HELPS"]
    exact = found["criteria"][0]
    assert (exact["criterion"], exact["n"], exact["clusters"]) == ("exact", COUNT, COUNT)
    assert (exact["base"], exact["tuned"], exact["diff"]) == (0.25, 0.75, 0.5)
    assert (exact["gained"], exact["lost"], exact["unscored"]) == (20, 0, 0)
    assert exact["ci95"][0] > 0.2
    assert found["headline"].startswith("HELPS on 'exact': +0.50")

    by_document = await bench.post(path, ask | {"cluster": "doc", "criterion": "exact"}, 200)
    [exact] = by_document["criteria"]
    assert exact["clusters"] == COUNT // 2

    back = await bench.post(path, {"base_run": better, "tuned_run": worse}, 200)
    assert {each["verdict"] for each in back["criteria"]} == {"HURTS"}
    same = await bench.post(path, {"base_run": better, "tuned_run": better}, 200)
    assert {each["verdict"] for each in same["criteria"]} == {"EQUIVALENT"}

    error = await bench.refused(path, ask | {"criterion": "tone"})
    assert error["code"] == "unknown_criterion"
    other = await ran(bench, eval_id, given(({"question": "other", "answer": "yes"}, "yes")))
    error = await bench.refused(path, {"base_run": worse, "tuned_run": other})
    assert error["code"] == "different_data"
    waiting = await bench.post(f"/{eval_id}/runs", {"data_source": answers(1)})
    error = await bench.refused(path, {"base_run": worse, "tuned_run": waiting["id"]}, 409)
    assert error["code"] == "run_not_completed"


async def test_unscored_items_are_left_out_of_pairs_and_counted(bench: Bench) -> None:
    eval_id = (await bench.post("", evaluation()))["id"]
    whole = answers(20)
    partial = answers(30)
    del partial["source"]["content"][0]["sample"]["output_text"]
    runs = [await ran(bench, eval_id, source) for source in (whole, partial)]
    ask = {"base_run": runs[0], "tuned_run": runs[1]}
    [exact] = (await bench.post(f"/{eval_id}/compare", ask, 200))["criteria"]
    assert (exact["n"], exact["unscored"]) == (COUNT - 1, 1)


async def test_a_formulas_scores_beyond_what_can_be_reckoned_with_are_not_compared(
    bench: Bench,
) -> None:
    multi = {
        "type": "multi",
        "name": "wide",
        "graders": {"exact": EXACT},
        "calculate_output": "(2 * exact - 1) * 1e308",
    }
    eval_id = (await bench.post("", evaluation(testing_criteria=[EXACT, multi])))["id"]
    runs = [await ran(bench, eval_id, answers(right)) for right in (0, COUNT)]
    ask = {"base_run": runs[0], "tuned_run": runs[1]}
    error = await bench.refused(f"/{eval_id}/compare", ask)
    assert error["code"] == "scores_too_large"
    assert "'wide'" in error["message"]
    await bench.post(f"/{eval_id}/compare", ask | {"criterion": "exact"}, 200)
