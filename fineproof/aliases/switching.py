"""Asks a running stack for a gate and an alias."""

from fineproof.errors import UserError
from fineproof.experiment.session import Address
from services.common.clients.evaluator import EvaluatorClient
from services.common.clients.generator import GeneratorClient
from services.common.contracts.aliases import Alias, AliasCreate, GateRef
from services.common.contracts.gate import GateCreate


async def switch(stack: Address, name: str, adapter: str, experiment: str | None) -> Alias:
    """Point ``name`` to ``adapter``, once it has passed the gate of ``experiment`` if one is named.

    Raises :class:`UserError` with every reason where the gate stays shut.
    """
    gate = None if experiment is None else await _pass_gate(stack, experiment, adapter)
    async with GeneratorClient.connect(stack.url, stack.key) as generator:
        return await generator.set_alias(AliasCreate(name=name, adapter=adapter, gate=gate))


async def known(stack: Address) -> list[Alias]:
    async with GeneratorClient.connect(stack.url, stack.key) as generator:
        return (await generator.aliases(limit=10_000)).data


async def _pass_gate(stack: Address, experiment_id: str, adapter: str) -> GateRef:
    async with EvaluatorClient.connect(stack.url, stack.key) as evaluator:
        report = await evaluator.report(experiment_id)
        arms = [arm.name for arm in report.arms if arm.model == adapter]
        if not arms:
            raise UserError(f"Experiment {experiment_id} has no arm with the model {adapter}.")
        gate = await evaluator.decide_gate(experiment_id, GateCreate(arm=arms[0]))
    if not gate.passed:
        raise UserError(
            f"{adapter} did not pass: {' '.join(reason.message for reason in gate.reasons)}"
        )
    return GateRef(experiment_id=experiment_id, gate_id=gate.id)
