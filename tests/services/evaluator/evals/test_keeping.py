"""What models say that PostgreSQL cannot hold, or nobody could read again."""

from typing import Any

import pytest

from services.evaluator.evals.keeping import MOST_DEPTH, held, is_deep
from services.evaluator.evals.schemas import ResultCounts
from tests.services.evaluator.evals.conftest import EXACT, ITEMS, Bench, given, sampled
from tests.services.evaluator.evals.standins import BASE, completion
from tests.services.evaluator.evals.test_api import LABEL


def message(text: str) -> str:
    """A chat completion of JSON that is a message."""
    return (
        f'{{"id": "1", "model": "{BASE}", "choices": [{{"message": {text}, "logprobs": NaN,'
        '"finish_reason": "stop"}]}'
    )


def test_what_cannot_be_held_is_replaced_at_any_depth() -> None:
    said = {"a\x00": ["\ud800b", {"c": float("nan")}], "d": [1, True, None, 0.5, "\U0001f600"]}
    assert held(said) == {"a\ufffd": ["\ufffdb", {"c": None}], "d": [1, True, None, 0.5, "😀"]}


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]} if levels % 2 else [value]
    return value


def test_depth_is_counted_in_objects_and_lists() -> None:
    assert not is_deep(nested(MOST_DEPTH))
    assert is_deep([nested(MOST_DEPTH)])
    assert is_deep({"a": nested(2_000)})


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('{"content": "half \\ud800"}', "half \ufffd"),
        ('{"content": "a\\u0000b"}', "a\ufffdb"),
        ('{"tool_calls": [{"function": {"name": "f", "arguments": "\\u0000", "x": NaN}}]}', ""),
    ],
)
async def test_an_answer_that_cannot_be_kept_as_it_is_is_graded_and_kept(
    bench: Bench, said: str, kept: str
) -> None:
    bench.world.raw = lambda body: message(said)
    run = await bench.finish(sampled())
    assert run.status == "completed", run.error
    assert run.result_counts == ResultCounts(total=6, failed=6)
    item = (await bench.items(run))[0]
    assert item["sample"]["output_text"] == kept
    if "tool" in said:
        [call] = item["sample"]["output_tools"]
        assert call["function"] == {"name": "f", "arguments": "\ufffd", "x": None}


async def test_json_within_an_answer_may_write_what_cannot_be_kept(bench: Bench) -> None:
    bench.world.speak = lambda body: '{"label": "good"}'
    grader = LABEL | {"input": [{"role": "user", "content": "{{sample.output_json.x}}"}]}
    answers = ['{"x": "a\\u0000b"}', '{"x": "\\ud800"}', '{"x": "fine"}']
    pairs = [(ITEMS[n], answer) for n, answer in enumerate(answers)]
    run = await bench.finish(given(*pairs), testing_criteria=[grader])
    assert run.status == "completed", run.error
    assert run.result_counts == ResultCounts(total=3, passed=3)
    assert set(bench.world.times_asked) == {"a\ufffdb", "\ufffd", "fine"}


async def test_an_answer_nested_too_deep_is_unscored(bench: Bench) -> None:
    calls = '{"tool_calls": [' + '{"a": ' * 300 + "1" + "}" * 300 + "]}"
    answers = iter([message(calls)])
    bench.world.raw = lambda body: next(answers, completion(BASE, "1"))
    run = await bench.finish(sampled(), testing_criteria=[EXACT])
    assert run.result_counts.errored == 1
    [item] = await bench.items(run, status="error")
    assert item["sample"]["error"]["code"] == "unreadable_answer"
