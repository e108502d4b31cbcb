"""What a base model knows, asked of one that knows what a test wants it to know."""

import json
import sqlite3
from pathlib import Path

import httpx
import pytest

from services.common.clients.generator import GeneratorClient
from services.common.contracts.generator import RagAnswer, RagAsk, RagTimings, Usage
from services.common.errors import Unavailable
from services.trainer.preparing.examples import Conversation, Pair
from services.trainer.preparing.facts import SAMPLES, TEMPERATURE, KnownFacts
from services.trainer.preparing.findings import Notes

PAIRS = [
    Pair(1, "Capital of France?", "Paris"),
    Pair(2, "Capital of Norway?", "Oslo."),
    Pair(3, "Capital of Elbonia?", "Mudville"),
    Pair(4, "Why?", "Because of many things that nobody would ever say in these words."),
    Conversation(5, ({"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"})),
]


class Knowing:
    """Knows Paris, comes upon Oslo in its third sample, and has not heard of Mudville."""

    def __init__(self) -> None:
        self.asked: list[RagAsk] = []
        self.away = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        ask = RagAsk.model_validate_json(request.content)
        if self.away and "Elbonia" in ask.question:
            return httpx.Response(503)
        self.asked.append(ask)
        said = "It is Paris, a city."
        if "Norway" in ask.question:
            said = "I think Oslo" if ask.seed == 3 else "Perhaps Osloville"
        answer = RagAnswer(
            id="rag_1",
            created=1,
            model="base",
            adapter_sha256=None,
            condition="closed_book",
            answer=said,
            finish_reason="stop",
            citations=[],
            passages=[],
            left_out=[],
            prompt_sha256="",
            usage=Usage(prompt_tokens=1, completion_tokens=1, total_tokens=2),
            timings=RagTimings(retrieval_ms=0, generation_ms=1, total_ms=1),
        )
        return httpx.Response(200, json=json.loads(answer.model_dump_json()))


async def check(model: Knowing, remembered: Path, notes: Notes, *drop: str) -> KnownFacts:
    transport = httpx.MockTransport(model)
    async with httpx.AsyncClient(transport=transport, base_url="http://generator") as http:
        client = GeneratorClient(http, attempts=1)
        found = KnownFacts(notes, client, sqlite3.connect(remembered), model="base", drop=drop)
        await found.look(PAIRS)
        return found


async def test_facts_are_known_weakly_known_or_unknown(tmp_path: Path) -> None:
    model, notes = Knowing(), Notes()
    found = await check(model, tmp_path / "facts.db", notes, "unknown")
    [finding] = found.findings()
    assert finding.data == {
        "check": "known_facts",
        "asked": 3,
        "not_asked": 2,
        "known": 0.3333,
        "weakly_known": 0.3333,
        "unknown": 0.3333,
    }
    assert notes.marked() == {"unknown": 1}
    assert notes.is_marked(3)
    temperatures = [ask.temperature for ask in model.asked if "Elbonia" in ask.question]
    assert temperatures == [0.0, *[TEMPERATURE] * SAMPLES]
    assert {ask.condition for ask in model.asked} == {"closed_book"}


async def test_what_was_learnt_before_a_worker_died_is_not_asked_again(tmp_path: Path) -> None:
    model = Knowing()
    [first] = (await check(model, tmp_path / "facts.db", Notes())).findings()
    asked = len(model.asked)
    notes = Notes()
    [again] = (await check(model, tmp_path / "facts.db", notes, "known")).findings()
    assert len(model.asked) == asked
    assert again == first
    assert notes.marked() == {"known": 2}


async def test_a_generator_that_is_away_is_told_as_such(tmp_path: Path) -> None:
    model = Knowing()
    model.away = True
    with pytest.raises(Unavailable):
        await check(model, tmp_path / "facts.db", Notes())


async def test_lines_left_out_already_are_not_asked(tmp_path: Path) -> None:
    model, notes = Knowing(), Notes()
    notes.mark(1, "duplicates")
    await check(model, tmp_path / "facts.db", notes)
    assert not any("France" in ask.question for ask in model.asked)
