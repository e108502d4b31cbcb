"""What the model under test is asked, and the samples that its answers become."""

from typing import Any

import openai

from services.evaluator.evals.schemas import ResultCounts
from tests.services.evaluator.evals.conftest import ITEMS, Bench, given, sampled
from tests.services.evaluator.evals.standins import BASE


async def test_messages_may_come_from_the_item(bench: Bench) -> None:
    items: list[dict[str, Any]] = [
        {"talk": [{"role": "user", "content": "2 {{item.x}}"}], "answer": "4"},
        {"talk": "3 is three", "answer": "6"},
        {"talk": 5, "answer": "10"},
    ]
    source = sampled(items=items) | {
        "input_messages": {"type": "item_reference", "item_reference": "item.talk"}
    }
    config = {"type": "custom", "item_schema": {"type": "object"}}
    run = await bench.finish(source, data_source_config=config)
    assert run.result_counts == ResultCounts(total=3, passed=2, errored=1)
    assert set(bench.world.times_asked) == {"2 {{item.x}}", "3 is three"}


async def test_a_responses_source_is_asked_as_a_chat_with_its_own_names_for_things(
    bench: Bench,
) -> None:
    schema = {"name": "sum", "schema": {"type": "object"}, "strict": True}
    tool = {"name": "add", "parameters": {"type": "object"}}
    source = sampled() | {
        "type": "responses",
        "sampling_params": {
            "max_completion_tokens": 8,
            "text": {"format": {"type": "json_schema", **schema}},
            "tools": [{"type": "function", **tool}],
        },
    }
    await bench.finish(source)
    asked = bench.world.asked[0]
    assert asked["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert asked["tools"] == [{"type": "function", "function": tool}]
    assert (asked["temperature"], asked["top_p"], asked["seed"]) == (1.0, 1.0, 42)


async def test_messages_may_have_what_the_clients_type_has(bench: Bench) -> None:
    source = sampled(items=ITEMS[:1])
    source["input_messages"]["template"] = [
        {"type": "message", "role": "assistant", "content": "Yes?", "phase": "commentary"},
        {"type": "message", "role": "user", "content": "{{item.question}}", "phase": None},
    ]
    run = await bench.finish(source)
    assert run.result_counts.passed == 1
    assert run.data_source == source
    assert bench.world.asked[0]["messages"][0] == {"role": "assistant", "content": "Yes?"}


async def test_the_client_reads_any_sample_alike(bench: Bench, client: openai.AsyncOpenAI) -> None:
    known = await bench.finish(given((ITEMS[0], "two")))
    lacking: list[dict[str, Any]] = [{"question": "1 and 1?", "answer": "2"}]
    source = sampled(items=lacking)
    source["input_messages"]["template"] = [{"role": "user", "content": "{{item.hint}}"}]
    unfilled = await bench.finish(source)
    page = await client.evals.runs.output_items.list(known.id, eval_id=known.eval_id)
    [sample] = [item.sample for item in page.data]
    assert (sample.output[0].role, sample.output[0].content) == ("assistant", "two")
    assert not any((sample.input, sample.error, sample.usage, sample.seed))
    page = await client.evals.runs.output_items.list(unfilled.id, eval_id=unfilled.eval_id)
    [sample] = [item.sample for item in page.data]
    assert (sample.output, sample.error.code) == ([], "unfilled_template")
    assert (sample.model, sample.seed, sample.max_completion_tokens) == (BASE, 1, 8)
