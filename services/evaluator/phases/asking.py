"""One question to the generator, remembered as soon as it is answered."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import structlog
from pydantic import ValidationError
from sqlalchemy.orm import Session

from services.common.contracts.budget import PriceAsk, Spent
from services.common.contracts.generator import RagAnswer
from services.common.errors import FineproofError
from services.evaluator import cache, storage
from services.evaluator.judges.memory import Memory, remembering
from services.evaluator.phases.answers import Said, answered, unanswered
from services.evaluator.phases.questions import Question
from services.evaluator.run import Run
from services.evaluator.spending import Ledger, cost_of

log = structlog.get_logger(__name__)

T = TypeVar("T")


def remembered(session: Session, keys: Collection[str]) -> dict[str, RagAnswer]:
    """What was said before to each key, where it was. What an older generator said and nobody can
    read any more is forgotten: it is asked again."""
    found: dict[str, RagAnswer] = {}
    unreadable: list[str] = []
    for key, said in cache.get_many(session, keys).items():
        try:
            found[key] = RagAnswer.model_validate(said)
        except ValidationError:
            unreadable.append(key)
    cache.forget(session, unreadable)
    return found


class Asker:
    """Asks the generator; an answer is remembered and paid for in one transaction, soon after it
    came and whoever holds the lease by then."""

    def __init__(self, run: Run, memory: Memory, ledger: Ledger) -> None:
        self._run = run
        self._memory = memory
        self._ledger = ledger

    async def ask(self, same: Sequence[Question]) -> list[Said]:
        """Ask once for all of ``same``, questions that come to one request.

        ``adapter_mismatch`` is raised: it puts every answer in doubt.
        """
        run, first = self._run, same[0]
        try:
            said = await run.concurrency.ask(
                lambda: run.peers.models.rag(first.wording),
                patience_s=run.settings.answer_patience_s,
            )
        except FineproofError as error:
            log.warning("unanswered", code=error.code, **first.key._asdict())
            return [unanswered(each, f"{error.code}: {error.message}") for each in same]
        except ValidationError as error:
            unreadable = f"unreadable_answer: {error.error_count()} fields are not as agreed"
            return [unanswered(each, unreadable) for each in same]
        asked, *others = (answered(each, said) for each in same)
        asked = replace(asked, fresh=said)
        self._ledger.add(spent_on(asked, run.spec.prices))
        self._memory.keep(first.cache_key, said.model_dump(mode="json"))
        return [asked, *others]

    async def flush(self) -> None:
        """Have all that was said remembered now."""
        await self._memory.flush()


@asynccontextmanager
async def asker_of(run: Run) -> AsyncIterator[Asker]:
    """All that was said is remembered and paid for when this is left, also by a cancellation."""
    ledger = Ledger()

    async def write(step: Callable[[Session], T], /) -> T:
        more = ledger.take()

        def both(session: Session) -> T:
            storage.add_spent(session, run.experiment_id, more)
            return step(session)

        # What was taken from the ledger is written, whatever becomes of who waits for it.
        return await asyncio.shield(run.aside(both))

    async with remembering(write) as memory:
        yield Asker(run, memory, ledger)


def spent_on(said: Said, prices: Mapping[str, PriceAsk]) -> Spent:
    if said.fresh is None:
        return Spent(cached=int(said.sample is not None))
    usage = said.fresh.usage
    return Spent(
        asked=1,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cost=cost_of(
            prices.get(said.row["arm"]),
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
        ),
    )
