"""How much of the training data the base model knows already.

Gekhman et al. 2024 (arXiv 2405.05904) sort facts by how often the base model answers right,
closed-book: facts that are unknown to it are learnt slowly, and once learnt make it hallucinate.
Their categories, with one prompt where they take several: *known* is right by greedy decoding
(their HighlyKnown and MaybeKnown), *weakly known* never greedily but in one of ``SAMPLES`` samples
at temperature 0.5, *unknown* never.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Literal

from services.common.clients.generator import GeneratorClient
from services.common.contracts.generator import RagAsk
from services.common.errors import InvalidRequest
from services.common.text import comparable
from services.trainer.preparing.examples import Example, Pair
from services.trainer.preparing.findings import Finding, Notes

Category = Literal["known", "weakly_known", "unknown"]

SAMPLES = 4
TEMPERATURE = 0.5
CONCURRENT = 8
MAX_WORDS = 10
"""A longer answer is said in too many ways for its words to be found."""
MAX_TOKENS = 64
MAX_QUESTION = 20_000
"""Characters of a question that the generator takes."""


class KnownFacts:
    """Asks once for each question: what a worker that dies has learnt, the next one reads."""

    def __init__(
        self,
        notes: Notes,
        generator: GeneratorClient,
        remembered: sqlite3.Connection,
        *,
        model: str,
        drop: Sequence[str],
    ) -> None:
        self._notes = notes
        self._generator = generator
        self._model = model
        self._drop = drop
        self._counts: Counter[Category] = Counter()
        self._not_asked = 0
        self._remembered = remembered
        self._remembered.execute(
            "create table if not exists facts (key blob primary key, category text) without rowid"
        )

    async def look(self, examples: Sequence[Example]) -> None:
        pairs = [
            example
            for example in examples
            if isinstance(example, Pair) and self._can_be_judged(example)
        ]
        self._not_asked += len(examples) - len(pairs)
        for start in range(0, len(pairs), CONCURRENT):
            batch = pairs[start : start + CONCURRENT]
            categories = await asyncio.gather(*map(self._category, batch))
            with self._remembered:
                for pair, category in zip(batch, categories, strict=True):
                    self._note(pair, category)

    def _can_be_judged(self, pair: Pair) -> bool:
        return (
            len(comparable(pair.answer).split()) <= MAX_WORDS
            and len(pair.question) <= MAX_QUESTION
            and not self._notes.is_marked(pair.line)
        )

    def _note(self, pair: Pair, category: Category | None) -> None:
        if category is None:
            self._not_asked += 1
            return
        self._counts[category] += 1
        self._remembered.execute(
            "insert or ignore into facts values (?, ?)", (_key(pair), category)
        )
        kind = "unknown" if category == "unknown" else "known"
        if kind in self._drop:
            self._notes.mark(pair.line, kind)

    async def _category(self, pair: Pair) -> Category | None:
        """None for a question that is longer than the model's window."""
        try:
            return await self._asked(pair)
        except InvalidRequest as refused:
            if refused.code != "context_length_exceeded":
                raise
            return None

    async def _asked(self, pair: Pair) -> Category:
        found = self._remembered.execute("select category from facts where key = ?", (_key(pair),))
        if (row := found.fetchone()) is not None:
            category: Category = row[0]
            return category
        if await self._is_right(pair, temperature=0.0, seed=0):
            return "known"
        for seed in range(1, SAMPLES + 1):
            if await self._is_right(pair, temperature=TEMPERATURE, seed=seed):
                return "weakly_known"
        return "unknown"

    async def _is_right(self, pair: Pair, *, temperature: float, seed: int) -> bool:
        """Whether the answer's words stand in what the model says, side by side."""
        said = await self._generator.rag(
            RagAsk(
                question=pair.question,
                model=self._model,
                condition="closed_book",
                max_tokens=MAX_TOKENS,
                temperature=temperature,
                seed=seed,
            )
        )
        return f" {comparable(pair.answer)} " in f" {comparable(said.answer)} "

    def findings(self) -> list[Finding]:
        asked = sum(self._counts.values())
        data: dict[str, Any] = {
            "check": "known_facts",
            "asked": asked,
            "not_asked": self._not_asked,
        }
        if not asked:
            message = f"No example has an answer of at most {MAX_WORDS} words to ask for."
            return [Finding(message=message, data=data)]
        shares = {
            kind: round(self._counts[kind] / asked, 4)
            for kind in ("known", "weakly_known", "unknown")
        }
        return [
            Finding(
                message=f"Of {asked} facts the base model knows {shares['known']:.0%}, weakly "
                f"{shares['weakly_known']:.0%}, and does not know {shares['unknown']:.0%}. Unknown "
                "facts, once learnt, raise hallucination (arXiv 2405.05904); 'checks.drop' can "
                "leave them out.",
                level="warn" if shares["unknown"] > 0 else "info",
                data=data | shares,
            )
        ]


def _key(pair: Pair) -> bytes:
    return blake2b(f"{pair.question}\0{pair.answer}".encode(), digest_size=16).digest()
