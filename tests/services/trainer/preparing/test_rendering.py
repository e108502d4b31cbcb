"""Recipe ``rag``, with passages that a real retriever really returns."""

from collections.abc import Sequence
from typing import Any

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.hyperparameters import Retrieval
from services.common.prompts import render_messages
from services.trainer.preparing.examples import Pair
from services.trainer.preparing.rendering import ClosedBook, ContextPassage, Rendered, WithPassages
from tests.services.retriever.conftest import Retriever
from tests.services.trainer.conftest import TOOLS, where_is


async def render(
    retriever: Retriever,
    store_id: str,
    examples: Sequence[Pair],
    seed: int = 1,
    **asked: Any,
) -> list[Rendered]:
    retrieval = Retrieval(vector_store_id=store_id, **asked)
    async with RetrieverClient.connect(retriever.url) as client:
        return await WithPassages(client, retrieval, seed=seed).render(examples)


async def test_a_prompt_shows_what_the_retriever_returns(
    retriever: Retriever, toolshed: str
) -> None:
    pair = Pair(1, "Where is the kiln?", "In hall 1.")
    [rendered] = await render(retriever, toolshed, [pair])
    assert sorted(rendered.passage_ids) == sorted(
        retriever.search(toolshed, pair.question, max_num_results=3)
    )
    shown = [ContextPassage(where_is(key), f"About the {key}") for key in rendered.passage_ids]
    assert rendered.prompt == render_messages(pair.question, shown)
    assert rendered.completion == "In hall 1."
    assert rendered.passages == 3


async def test_missing_gold_takes_the_place_of_the_last_that_are_not_gold(
    retriever: Retriever, toolshed: str
) -> None:
    question = "Where is the kiln?"
    found = retriever.search(toolshed, question, max_num_results=3)
    missing = next(tool for tool in TOOLS if tool not in found)
    pair = Pair(1, question, "A", evidence_ids=(missing, found[2], "no/such", "gone"))
    [rendered] = await render(retriever, toolshed, [pair])
    assert set(rendered.passage_ids) == {found[0], found[2], missing}
    [left_out] = await render(retriever, toolshed, [pair], include_gold=False)
    assert set(left_out.passage_ids) == set(found)


async def test_within_a_document_nothing_of_another_is_shown(
    retriever: Retriever, toolshed: str
) -> None:
    pairs = [
        Pair(1, "Where is the kiln?", "A", doc_id=TOOLS[0]),
        Pair(2, "Where is the kiln?", "A", doc_id="no such"),
    ]
    one, none = await render(retriever, toolshed, pairs, within_document=True)
    assert one.passage_ids == [TOOLS[0]]
    assert none.passage_ids == []
    everywhere, _ = await render(retriever, toolshed, pairs)
    assert len(everywhere.passage_ids) == 3


async def test_the_order_follows_the_seed_and_the_line(retriever: Retriever, toolshed: str) -> None:
    pairs = [Pair(n, "Where is the kiln?", "A") for n in range(1, 9)]
    first = await render(retriever, toolshed, pairs)
    assert await render(retriever, toolshed, pairs) == first
    assert len({tuple(rendered.passage_ids) for rendered in first}) > 1
    assert await render(retriever, toolshed, pairs, seed=2) != first


async def test_a_row_that_brings_its_context_keeps_it(retriever: Retriever, toolshed: str) -> None:
    pair = Pair(1, "Q", "A", context=("one", "two"))
    [rendered] = await render(retriever, toolshed, [pair])
    assert rendered.prompt == render_messages("Q", [ContextPassage("one"), ContextPassage("two")])
    assert (rendered.passages, rendered.passage_ids) == (2, [])


async def test_recipe_qa_is_closed_book_whatever_a_row_brings() -> None:
    pair = Pair(1, "Q", "A", evidence_ids=("kiln",), context=("one",))
    assert await ClosedBook().render([pair]) == [Rendered(1, render_messages("Q"), "A")]
