"""Before a question is asked: every adapter is loaded, and shown to change the model."""

from collections.abc import Mapping, Sequence

from pydantic import Field
from sqlalchemy.orm import Session

from services.common.contracts.evaluator import ReportArm
from services.common.contracts.generator import AdapterProof
from services.common.errors import NotFound, UpstreamFailed
from services.evaluator import storage
from services.evaluator.checking import is_adapter
from services.evaluator.models import Json
from services.evaluator.peers import patiently
from services.evaluator.phases.tuning import Member
from services.evaluator.run import Run
from services.evaluator.turns import Pace

Served = Mapping[str, Json]
"""What the generator says of each of its models."""


class ProvenArm(ReportArm):
    """An arm as the report names it, with the proof of each replica that its adapter is there.

    ``served`` is what the generator says of the model beneath, as far as answers depend on it:
    with a larger window fewer passages are left out.
    """

    proofs: list[AdapterProof] = Field(default_factory=list)
    served: Json = Field(default_factory=dict)


async def prove(run: Run, members: Sequence[Member]) -> list[ProvenArm]:
    """Load each adapter and take its proof.

    Raises the generator's own error, such as ``adapter_no_effect``, when one cannot be proven.
    Done at each turn: a generator that was restarted meanwhile serves nothing yet. What an alias
    stands for is looked up at the first turn only: it may be switched while questions are asked.
    """
    pace = Pace(done=0, total=len(members))
    await run.enter("proving", done=0, total=pace.total)
    before = await run.write(lambda session: _stood_for(session, run.experiment_id))
    served = await _served(run)
    proven: list[ProvenArm] = []
    for member in members:
        proven.append(await _prove(member, run, before, served))
        pace.done += 1
        await _save(run, proven, pace)
    return proven


def _stood_for(session: Session, experiment_id: str) -> dict[str, str]:
    """The adapter behind each alias, as an earlier turn found it."""
    row = storage.find(session, experiment_id)
    arms = [ProvenArm.model_validate(arm) for arm in row.arms] if row else []
    return {arm.alias: arm.model for arm in arms if arm.alias is not None}


async def _resolve(name: str, run: Run, before: Mapping[str, str]) -> str:
    """The adapter that ``name`` is or stands for."""
    if name in before:
        return before[name]
    try:
        alias = await patiently(
            lambda: run.peers.generator.alias(name), seconds=run.settings.answer_patience_s
        )
    except NotFound:
        return name
    return alias.adapter


async def _served(run: Run) -> Served:
    listed = await patiently(run.peers.generator.models, seconds=run.settings.answer_patience_s)
    return {
        card.id: card.model_dump(include={"owned_by", "sha256", "base_revision", "max_model_len"})
        for card in listed.data
    }


async def _prove(member: Member, run: Run, before: Mapping[str, str], served: Served) -> ProvenArm:
    if not is_adapter(member.model):
        card = served.get(member.model, {})
        return ProvenArm(
            name=member.arm,
            model=member.model,
            adapter=None,
            recipe=None,
            sha256=None,
            base_revision=card.get("base_revision"),
            served=card,
        )
    name = await _resolve(member.model, run, before)
    adapter = await patiently(
        lambda: run.peers.generator.load_adapter(name), seconds=run.settings.answer_patience_s
    )
    if adapter.error is not None:
        raise UpstreamFailed(adapter.error.message, code=adapter.error.code)
    if not adapter.proofs:
        raise UpstreamFailed(
            f"Adapter '{name}' is {adapter.status} without a proof that it is served.",
            code="adapter_unproven",
        )
    if min(proof.max_abs_logprob_delta for proof in adapter.proofs) <= 0:
        raise UpstreamFailed(
            f"Adapter '{name}' changes no token's probability: the base model would be "
            "measured in its place.",
            code="adapter_no_effect",
        )
    card = served.get(adapter.base_model, {})
    return ProvenArm(
        name=member.arm,
        model=name,
        alias=member.model if member.model != name else None,
        adapter=adapter.id,
        recipe=adapter.recipe,
        sha256=adapter.sha256,
        base_revision=card.get("base_revision"),
        training_seed=member.training_seed,
        job_id=member.job_id,
        proofs=adapter.proofs,
        served=card,
    )


async def _save(run: Run, proven: list[ProvenArm], pace: Pace) -> None:
    arms = [arm.model_dump(mode="json") for arm in proven]
    seconds = pace.lap()

    def step(session: Session) -> None:
        storage.set_fields(
            session,
            run.experiment_id,
            arms=arms,
            done=pace.done,
            seconds_left=pace.seconds_left(),
        )
        storage.add_seconds(session, run.experiment_id, "proving", seconds)

    await run.write(step)
