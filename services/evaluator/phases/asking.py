"""One question to the generator, remembered as soon as it is answered."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import structlog
from pydantic import ValidationError
from sqlalchemy.orm import Session

from services.common.contracts.budget import PriceAsk, Spent
from services.common.contracts.generator import RagAnswer
from services.common.errors import FineproofError
from services.evaluator import cache
from services.evaluator.judges.memory import Memory
from services.evaluator.phases.answers import Said, answered, unanswered
from services.evaluator.phases.questions import Question
from services.evaluator.run import Run
from services.evaluator.spending import cost_of

log = structlog.get_logger(__name__)


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


async def ask(run: Run, same: Sequence[Question], memory: Memory) -> list[Said]:
    """Ask once for all of ``same``, questions that come to one request, and remember what is said.

    ``adapter_mismatch`` is raised: it puts every answer in doubt.
    """
    first = same[0]
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
    memory.keep(first.cache_key, said.model_dump(mode="json"))
    return [replace(asked, fresh=said), *others]


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
