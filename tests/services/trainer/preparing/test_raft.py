"""Recipe ``raft``, with distractors that a real retriever really returns."""

from collections.abc import Sequence
from typing import Any

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.hyperparameters import Raft, Retrieval
from services.common.prompts import UNSUPPORTED, render_quote, render_reasoned
from services.trainer.preparing.examples import Pair
from services.trainer.preparing.raft import WithDistractors, reason
from services.trainer.preparing.rendering import ContextPassage, Rendered
from tests.services.retriever.conftest import Retriever

QUESTION = "Where is the kiln?"


async def render(
    retriever: Retriever,
    store_id: str,
    examples: Sequence[Pair],
    seed: int = 1,
    **raft: Any,
) -> list[Rendered]:
    async with RetrieverClient.connect(retriever.url) as client:
        recipe = WithDistractors(
            client, Retrieval(vector_store_id=store_id), Raft(**raft), seed=seed
        )
        return await recipe.render(examples)


def kilns(count: int) -> list[Pair]:
    return [Pair(n, QUESTION, "In hall 1.", evidence_ids=("kiln",)) for n in range(1, count + 1)]


async def test_gold_stands_among_what_the_retriever_returns_and_is_quoted(
    retriever: Retriever, toolshed: str
) -> None:
    [rendered] = await render(retriever, toolshed, kilns(1), p=1.0, distractors=2)
    found = retriever.search(toolshed, QUESTION, max_num_results=3)
    others = [key for key in found if key != "kiln"][:2]
    assert sorted(rendered.passage_ids) == sorted(["kiln", *others])
    place = rendered.passage_ids.index("kiln") + 1
    assert rendered.completion == render_reasoned(
        render_quote(place, "The kiln is in hall 1."), "In hall 1."
    )


async def test_without_gold_a_prompt_shows_distractors_alone_and_quotes_nothing(
    retriever: Retriever, toolshed: str
) -> None:
    [rendered] = await render(retriever, toolshed, kilns(1), p=0.0, distractors=2)
    assert len(rendered.passage_ids) == 2
    assert "kiln" not in rendered.passage_ids
    assert rendered.completion == render_reasoned(UNSUPPORTED, "In hall 1.")
    assert not rendered.lacks_gold


async def test_gold_is_left_out_of_a_share_of_prompts_by_seed_and_line(
    retriever: Retriever, toolshed: str
) -> None:
    first = await render(retriever, toolshed, kilns(200), p=0.7, distractors=2)
    share = sum("kiln" in rendered.passage_ids for rendered in first) / 200
    assert 0.6 < share < 0.8
    places = {r.passage_ids.index("kiln") for r in first if "kiln" in r.passage_ids}
    assert places == {0, 1, 2}
    assert await render(retriever, toolshed, kilns(200), p=0.7, distractors=2) == first
    assert await render(retriever, toolshed, kilns(200), seed=2, p=0.7, distractors=2) != first


async def test_a_row_whose_gold_the_store_does_not_hold_says_so(
    retriever: Retriever, toolshed: str
) -> None:
    [rendered] = await render(
        retriever, toolshed, [Pair(1, QUESTION, "A", evidence_ids=("gone",))], p=1.0
    )
    assert rendered.lacks_gold
    assert rendered.passages == 4


async def test_the_first_passage_of_a_row_s_own_context_is_gold(
    retriever: Retriever, toolshed: str
) -> None:
    pair = Pair(1, "Who?", "Ada.", context=("It was Ada.", "It rained.", "It snowed."))
    [kept] = await render(retriever, toolshed, [pair], p=1.0, distractors=1)
    assert kept.passages == 2
    assert "##begin_quote## It was Ada. ##end_quote##" in kept.completion
    [left_out] = await render(retriever, toolshed, [pair], p=0.0, distractors=1)
    assert "It was Ada." not in left_out.prompt[-1]["content"]


async def test_a_row_s_own_reasoning_wins(retriever: Retriever, toolshed: str) -> None:
    pair = Pair(1, QUESTION, "A", evidence_ids=("kiln",), reasoning="It is known.")
    [rendered] = await render(retriever, toolshed, [pair])
    assert rendered.completion == render_reasoned("It is known.", "A")


def test_the_quote_is_the_sentence_that_holds_most_of_the_answer() -> None:
    pair = Pair(1, "Who wrote the notes on the engine?", "Ada Lovelace")
    passages = [
        (2, ContextPassage("Who wrote the notes on the engine is told below. Babbage built it.")),
        (3, ContextPassage("It rained.\nThe notes are by Ada Lovelace, a countess. She sang.")),
    ]
    assert reason(pair, passages) == render_quote(3, "The notes are by Ada Lovelace, a countess.")
    assert reason(pair, []) == UNSUPPORTED
