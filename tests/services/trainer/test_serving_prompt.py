"""What a model is trained on and what it is asked when it serves: equal, token by token."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.generator import GivenPassage, RagAsk
from services.common.contracts.hyperparameters import Raft, Recipe, Retrieval
from services.generator.rag.packing import Messages, pack
from services.generator.rag.retrieval import number
from services.generator.rag.service import prompt_of
from services.trainer.preparing.examples import Pair
from services.trainer.preparing.raft import WithDistractors
from services.trainer.preparing.rendering import ClosedBook, Rendered, WithPassages
from services.trainer.training.data import prompt_ids, tokenize
from tests.services.retriever.conftest import Retriever

PASSAGES = {
    "p1": ("Notes {1}", "It was Ada {who} wrote."),
    "p2": ("", "Babbage built it."),
    "p3": ("Weather", "It rained."),
}
PAIR = Pair(1, "Who {wrote} it?", "Ada.", evidence_ids=("p1",))


async def rendered(recipe: Recipe, client: RetrieverClient, store_id: str) -> Rendered:
    if recipe == "qa":
        [prompt] = await ClosedBook().render([PAIR])
    elif recipe == "rag":
        asked = Retrieval(vector_store_id=store_id)
        [prompt] = await WithPassages(client, asked, seed=1).render([PAIR])
    else:
        asked = Retrieval(vector_store_id=store_id)
        [prompt] = await WithDistractors(client, asked, Raft(), seed=1).render([PAIR])
    return prompt


async def served(question: str, passage_ids: Sequence[str]) -> Messages:
    """What the generator sends to the model for these passages."""
    given = [
        GivenPassage(id=key, title=PASSAGES[key][0], text=PASSAGES[key][1]) for key in passage_ids
    ]
    ask = RagAsk(
        question=question,
        passages=given or None,
        condition="retrieved" if given else "closed_book",
    )

    async def count(_: object) -> int:
        raise AssertionError("it fits")

    prompt = prompt_of(ask, number(given))
    packed = await pack(prompt, window=4096, max_tokens=16, count=count)
    assert packed.left_out == []
    return packed.messages


@pytest.mark.parametrize("recipe", ["qa", "rag", "raft"])
async def test_the_training_prompt_is_the_serving_prompt(
    recipe: Recipe,
    retriever: Retriever,
    tiny_model: Path,
) -> None:
    store_id = retriever.fill(
        {"id": key, "title": title, "text": text} for key, (title, text) in PASSAGES.items()
    )
    async with RetrieverClient.connect(retriever.url) as client:
        training = await rendered(recipe, client, store_id)
    assert len(training.passage_ids) == (0 if recipe == "qa" else 3)
    serving = await served(PAIR.question, training.passage_ids)
    assert training.prompt == serving
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    example = tokenize(tokenizer, training.prompt, training.completion, {tokenizer.eos_token_id})
    assert example.token_ids[: example.answer_start] == prompt_ids(tokenizer, serving)
    answer = tokenizer.decode(example.token_ids[example.answer_start :])
    assert answer == f"{training.completion}{tokenizer.eos_token}"
