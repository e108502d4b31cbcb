"""An adapter's proof in words: is it all there, does it change anything, is it what was trained?"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.common.contracts.generator import Adapter, AdapterProof
from services.common.contracts.trainer import AdapterRecord
from services.evaluator.dashboard import words


@dataclass(frozen=True)
class Finding:
    """One question of the proof; ``holds`` tells whether the answer is the one hoped for."""

    question: str
    answer: str
    holds: bool


@dataclass(frozen=True)
class AdapterView:
    """An adapter as registered by the trainer, as loaded by the generator, or both."""

    name: str
    base_model: str
    recipe: str
    sha256: str
    rank: int
    created_at: int
    status: str
    record: AdapterRecord | None
    proof: AdapterProof | None
    findings: list[Finding]
    error: str | None

    @property
    def proven(self) -> bool:
        return bool(self.findings) and all(finding.holds for finding in self.findings)


def findings(proof: AdapterProof) -> list[Finding]:
    whole = proof.modules_in_file > 0 and proof.modules_matched == proof.modules_in_file
    changes = proof.max_abs_logprob_delta > 0
    agrees = proof.peft_max_abs_diff <= proof.tolerance
    delta = words.significant(proof.max_abs_logprob_delta)
    apart = words.significant(proof.peft_max_abs_diff)
    tolerance = words.significant(proof.tolerance)
    return [
        Finding(
            "Is all of it there?",
            f"{proof.modules_matched:,} of {proof.modules_in_file:,} LoRA modules in the file have "
            f"their place in the base model"
            f"{'.' if whole else '; the rest would be dropped without a word.'}",
            whole,
        ),
        Finding(
            "Does it change the model?",
            f"With it, a canary token's log-probability moves by up to {delta} nats."
            if changes
            else "No canary token's log-probability moves: the base model is being served.",
            changes,
        ),
        Finding(
            "Is it what was trained?",
            f"What is served and what PEFT computes differ by at most {apart} nats; "
            f"{tolerance} is tolerated{'.' if agrees else ', so this is not the same adapter.'}",
            agrees,
        ),
    ]


def adapter_view(record: AdapterRecord | None, loaded: Adapter | None) -> AdapterView:
    source = record or loaded
    if source is None:
        raise ValueError("an adapter is in the registry, loaded, or both")
    proof = loaded.proof if loaded else None
    return AdapterView(
        name=source.id,
        base_model=source.base_model,
        recipe=source.recipe,
        sha256=source.sha256,
        rank=source.rank,
        created_at=source.created_at,
        status=loaded.status if loaded else "not loaded",
        record=record,
        proof=proof,
        findings=findings(proof) if proof else [],
        error=loaded.error.message if loaded and loaded.error else None,
    )


def adapter_views(records: Sequence[AdapterRecord], loaded: Sequence[Adapter]) -> list[AdapterView]:
    """Both lists as one, newest first."""
    registered = {record.id: record for record in records}
    served = {adapter.id: adapter for adapter in loaded}
    views = [
        adapter_view(registered.get(name), served.get(name)) for name in {**registered, **served}
    ]
    return sorted(views, key=lambda view: (view.created_at, view.name), reverse=True)
