"""Before a question is asked: every adapter is loaded, and shown to change the model."""

from sqlalchemy.orm import Session

from services.common.contracts.evaluator import ArmAsk, ReportArm
from services.common.contracts.generator import AdapterProof
from services.common.errors import UpstreamFailed
from services.evaluator import storage
from services.evaluator.checking import is_adapter
from services.evaluator.peers import patiently
from services.evaluator.run import Pace, Run


class ProvenArm(ReportArm):
    """An arm as the report names it, with the proof that its adapter is there."""

    proof: AdapterProof | None


async def prove(run: Run) -> list[ProvenArm]:
    """Load each adapter and take its proof.

    Raises the generator's own error, such as ``adapter_no_effect``, when one cannot be proven.
    Done at each turn: a generator that was restarted meanwhile serves nothing yet.
    """
    pace = Pace(done=0, total=len(run.spec.arms))
    await run.enter("proving", done=0, total=pace.total)
    proven: list[ProvenArm] = []
    for arm in run.spec.arms:
        proven.append(await _prove(arm, run))
        pace.done += 1
        await _save(run, proven, pace)
    return proven


async def _prove(arm: ArmAsk, run: Run) -> ProvenArm:
    if not is_adapter(arm.model):
        return ProvenArm(
            name=arm.name, model=arm.model, adapter=None, recipe=None, sha256=None, proof=None
        )
    adapter = await patiently(
        lambda: run.peers.generator.load_adapter(arm.model),
        seconds=run.settings.answer_patience_s,
    )
    if adapter.error is not None:
        raise UpstreamFailed(adapter.error.message, code=adapter.error.code)
    proof = adapter.proof
    if proof is None:
        raise UpstreamFailed(
            f"Adapter '{arm.model}' is {adapter.status} without a proof that it is served.",
            code="adapter_unproven",
        )
    if proof.max_abs_logprob_delta <= 0:
        raise UpstreamFailed(
            f"Adapter '{arm.model}' changes no token's probability: the base model would be "
            "measured in its place.",
            code="adapter_no_effect",
        )
    return ProvenArm(
        name=arm.name,
        model=arm.model,
        adapter=adapter.id,
        recipe=adapter.recipe,
        sha256=adapter.sha256,
        proof=proof,
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
