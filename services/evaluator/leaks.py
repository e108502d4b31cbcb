"""What a reader should know of the data that the arms were tuned on."""

from collections.abc import Iterator, Sequence

from services.common.contracts.leakage import ReportTraining
from services.common.overlap import sentences


def training_warnings(training: Sequence[ReportTraining]) -> Iterator[str]:
    for said in training:
        if said.overlap is not None:
            yield from (f"{said.arm}: {sentence}" for sentence in sentences(said.overlap))
        if said.reason is not None:
            yield f"{said.arm}: what it was tuned on could not be read: {said.reason}"
        if said.facts is not None and said.facts.unknown > 0:
            yield (
                f"{said.arm}: of {said.facts.asked} training facts the base model knew "
                f"{said.facts.known:.0%}, weakly {said.facts.weakly_known:.0%}; the "
                f"{said.facts.unknown:.0%} it did not know raise hallucination once learnt."
            )
