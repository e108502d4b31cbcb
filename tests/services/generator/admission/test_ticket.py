"""What a request is charged, and what it turns out to have cost."""

import json

import pytest

from services.generator.admission.ledger import OwnLedger
from services.generator.admission.ticket import ANSWER_TOKENS, Ticket
from services.generator.settings import CallerLimits

LIMITS = CallerLimits(tokens_per_minute=10_000)


async def charged(body: object, limits: CallerLimits = LIMITS) -> float:
    text = json.dumps(body).encode()
    ledger = OwnLedger(clock=lambda: 0.0)
    entry = await Ticket("a", limits, text).enter(ledger)
    return entry.tokens - len(text) / 4


async def cost(*blocks: bytes, failed: bool = False) -> float:
    """Of a request of 40 bytes, as its caller's account has it in the end."""
    ledger = OwnLedger(clock=lambda: 0.0)
    ticket = Ticket("a", LIMITS, b"x" * 40)
    await ticket.enter(ledger)
    for block in blocks:
        ticket.see(block)
    ticket.failed = failed
    await ticket.settle(ledger)
    return (await ledger.enter("a", LIMITS, "other", 0)).tokens


async def test_an_estimate_is_the_prompts_bytes_and_the_room_asked_for() -> None:
    assert await charged({"prompt": "Hi"}) == ANSWER_TOKENS
    assert await charged({"prompt": "Hi", "max_tokens": 7}) == 7
    assert await charged({"prompt": "Hi", "max_completion_tokens": 7, "n": 3}) == 21
    assert await charged({"prompt": 'say "max_tokens": 900', "max_tokens": 1}) == 1


async def test_more_than_a_minutes_tokens_are_charged_as_a_minutes() -> None:
    text = json.dumps({"max_tokens": 99_999}).encode()
    entry = await Ticket("a", LIMITS, text).enter(OwnLedger(clock=lambda: 0.0))
    assert (entry.refused, entry.tokens) == (None, 10_000)


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([b'{"choices": [], "usage": {"total_tokens": 99, "x": 1}}'], 99),
        ([b'{"usage":{"total_tokens":99},"choices":[]}'], 99),
        ([b'data: {"usage":null}\n\n', b'data: {"usage": {"total_tokens": 5}}'], 5),
        ([b"data: {}\n\ndata: {}\n\n", b"data: {}\n\n"], 10 + 3),
        ([b'{"choices": ["said \\"usage\\": {\\"total_tokens\\": 1}"]}'], 10 + ANSWER_TOKENS),
        ([b'{"usage": {"total_tokens": "many"}}'], 10 + ANSWER_TOKENS),
        ([b'{"usage": {broken'], 10 + ANSWER_TOKENS),
        ([], 10 + ANSWER_TOKENS),
    ],
)
async def test_what_comes_back_says_what_it_cost(blocks: list[bytes], expected: float) -> None:
    assert await cost(*blocks) == expected


async def test_a_request_that_failed_costs_no_tokens() -> None:
    assert await cost(failed=True) == 0
