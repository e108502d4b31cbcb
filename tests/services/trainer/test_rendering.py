"""Recipe ``rag``, with passages that a real retriever really returns."""

from collections.abc import Sequence
from typing import Any

import pytest

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.trainer import Retrieval
from services.common.prompts import render_messages
from services.trainer.examples import Pair
from services.trainer.rendering import ClosedBook, ContextPassage, Rendered, WithPassages
from tests.services.retriever.conftest import (  # noqa: F401
    Retriever,
    retriever,
    retriever_settings,
)

TOOLS = ("lathe", "kiln", "press", "loom", "crane", "forge")


@pytest.fixture
def store_id(retriever: Retriever) -> str:  # noqa: F811
    return retriever.fill(
        {"id": tool, "title": f"About the {tool}", "text": f"The {tool} stands in hall {n}."}
        for n, tool in enumerate(TOOLS)
    )


async def render(
    retriever: Retriever,  # noqa: F811
    store_id: str,
    examples: Sequence[Pair],
    seed: int = 1,
    **asked: Any,
) -> list[Rendered]:
    retrieval = Retrieval(vector_store_id=store_id, **asked)
    async with RetrieverClient.connect(retriever.url) as client:
        return await WithPassages(client, retrieval, seed=seed).render(examples)


async def test_a_prompt_shows_what_the_retriever_returns(
    retriever: Retriever,  # noqa: F811
    store_id: str,
) -> None:
    pair = Pair(1, "Where does the kiln stand?", "In hall 1.")
    [rendered] = await render(retriever, store_id, [pair])
    assert sorted(rendered.passage_ids) == sorted(
        retriever.search(store_id, pair.question, max_num_results=3)
    )
    shown = [
        ContextPassage(f"The {key} stands in hall {TOOLS.index(key)}.", f"About the {key}")
        for key in rendered.passage_ids
    ]
    assert rendered.prompt == render_messages(pair.question, shown)
    assert rendered.completion == "In hall 1."
    assert rendered.passages == 3


async def test_missing_gold_takes_the_place_of_the_last_that_are_not_gold(
    retriever: Retriever,  # noqa: F811
    store_id: str,
) -> None:
    question = "Where does the kiln stand?"
    found = retriever.search(store_id, question, max_num_results=3)
    missing = next(tool for tool in TOOLS if tool not in found)
    pair = Pair(1, question, "A", evidence_ids=(missing, found[2], "no/such", "gone"))
    [rendered] = await render(retriever, store_id, [pair])
    assert set(rendered.passage_ids) == {found[0], found[2], missing}
    [left_out] = await render(retriever, store_id, [pair], include_gold=False)
    assert set(left_out.passage_ids) == set(found)


async def test_the_order_follows_the_seed_and_the_line(
    retriever: Retriever,  # noqa: F811
    store_id: str,
) -> None:
    pairs = [Pair(n, "Where does the kiln stand?", "A") for n in range(1, 9)]
    first = await render(retriever, store_id, pairs)
    assert await render(retriever, store_id, pairs) == first
    assert len({tuple(rendered.passage_ids) for rendered in first}) > 1
    assert await render(retriever, store_id, pairs, seed=2) != first


async def test_a_row_that_brings_its_context_keeps_it(
    retriever: Retriever,  # noqa: F811
    store_id: str,
) -> None:
    pair = Pair(1, "Q", "A", context=("one", "two"))
    [rendered] = await render(retriever, store_id, [pair])
    assert rendered.prompt == render_messages("Q", [ContextPassage("one"), ContextPassage("two")])
    assert (rendered.passages, rendered.passage_ids) == (2, [])


async def test_recipe_qa_is_closed_book_whatever_a_row_brings() -> None:
    pair = Pair(1, "Q", "A", evidence_ids=("kiln",), context=("one",))
    assert await ClosedBook().render([pair]) == [Rendered(1, render_messages("Q"), "A")]
