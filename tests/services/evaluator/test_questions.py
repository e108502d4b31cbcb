"""What is asked, and which questions come to the same."""

from typing import Any

import pytest

from services.common.contracts.evaluator import SamplingAsk
from services.common.contracts.generator import Condition
from services.evaluator.models import Item
from services.evaluator.phases.proving import ProvenArm
from services.evaluator.phases.questions import Question
from tests.services.evaluator.conftest import DOCUMENTS, PER_DOCUMENT, Bench
from tests.services.evaluator.world import BASE

ITEMS = DOCUMENTS * PER_DOCUMENT
PASSAGE = {"id": "p", "doc_id": "d", "title": "t", "text": "x", "score": 0.5}


def key(
    condition: Condition = "retrieved",
    passage: dict[str, Any] = PASSAGE,
    served: dict[str, Any] | None = None,
    repeat: int = 0,
    **sampling: Any,
) -> str:
    item = Item(
        item_id="i", question="q", retrieved=[passage], oracle=[passage], distractors=[passage]
    )
    arm = ProvenArm(
        name="base", model=BASE, adapter=None, recipe=None, sha256=None, served=served or {}
    )
    return Question(item, condition, arm, repeat, SamplingAsk(**sampling)).cache_key


def test_what_does_not_reach_the_model_makes_no_other_question() -> None:
    assert key() == key("oracle") == key("distractors")
    assert key() == key(passage=PASSAGE | {"score": 0.5000001, "doc_id": None})
    assert key() == key(seed=7)


def test_what_the_answer_depends_on_makes_another_question() -> None:
    others = [
        key(),
        key("closed_book"),
        key(repeat=1),
        key(max_tokens=7),
        key(temperature=1.0),
        key(temperature=1.0, seed=7),
        key(served={"max_model_len": 8192}),
        key(served={"base_revision": "sha256:ab"}),
        key(served={"base_revision": "sha256:cd"}),
        *(key(passage=PASSAGE | {name: "other"}) for name in ("id", "title", "text")),
    ]
    assert len(set(others)) == len(others)


async def test_prompts_of_the_same_words_are_asked_once_and_kept_under_both_conditions(
    bench: Bench,
) -> None:
    bench.world.items = [item | {"evidence_ids": ["p-none"]} for item in bench.world.items]
    bench.put(conditions=["retrieved", "distractors"])
    row = await bench.run()
    assert row.status == "completed"
    assert bench.world.answered.total() == ITEMS * 3
    assert len({(a.item_id, a.arm, a.condition) for a in bench.answers()}) == ITEMS * 3 * 2


@pytest.mark.parametrize(("window", "asked"), [(4096, 1), (8192, 2)])
async def test_a_model_with_another_window_is_asked_anew(
    bench: Bench, window: int, asked: int
) -> None:
    bench.put(conditions=["oracle"])
    await bench.run()
    bench.world.window = window
    bench.put("exp_2", conditions=["oracle"])
    await bench.run("exp_2")
    assert set(bench.world.answered.values()) == {asked}
