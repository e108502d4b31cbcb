"""What defines an adapter that an experiment has made: equal definitions are trained once."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from services.common.contracts.arms import TuneAsk
from services.common.contracts.evaluator import ExperimentCreate
from services.common.contracts.hyperparameters import (
    Method,
    Retrieval,
    Supervised,
    SupervisedHyperparameters,
)
from services.common.contracts.trainer import FineTuningJobCreate


@dataclass(frozen=True)
class Making:
    """One training: ``training_sha256`` is that of the whole file that pairs are drawn from."""

    arm: str
    tune: TuneAsk
    seed: int
    training_sha256: str
    hyperparameters: SupervisedHyperparameters

    @property
    def sample(self) -> str:
        """What the training file is drawn from and how: equal ones need be drawn once."""
        drawn = {"pairs": self.tune.pairs, "seed": self.tune.sample_seed}
        return _sha256({"file": self.training_sha256, **(drawn if self.tune.pairs else {})})

    @property
    def definition(self) -> str:
        # That layers are compiled is how fast it is done, not what. A vector store is known by its
        # id alone, for the retriever has no digest of what is in it: an adapter of recipe rag or
        # raft is not made again when its store's passages change.
        asked = self.hyperparameters.model_dump(mode="json", exclude={"torch_compile"})
        return _sha256(
            {
                "base_model": self.tune.base_model,
                "sample": self.sample,
                "hyperparameters": asked,
                "checks": self.tune.checks.model_dump(mode="json"),
                "seed": self.seed,
            }
        )

    def job(self, file_id: str) -> FineTuningJobCreate:
        """The job to ask for. Nothing in it names the experiment: the next one may share it."""
        pairs = f"-{self.tune.pairs}" if self.tune.pairs else ""
        return FineTuningJobCreate(
            model=self.tune.base_model,
            training_file=file_id,
            suffix=f"{self.tune.recipe}{pairs}",
            seed=self.seed,
            checks=self.tune.checks,
            metadata={"definition": self.definition},
            method=Method(supervised=Supervised(hyperparameters=self.hyperparameters)),
        )


def makings(spec: ExperimentCreate, training_sha256: dict[str, str]) -> list[Making]:
    """Every training that ``spec`` asks for; ``training_sha256`` by file id."""
    return [
        Making(
            arm=arm.name,
            tune=arm.tune,
            seed=seed,
            training_sha256=training_sha256[arm.tune.training_file],
            hyperparameters=with_store(arm.tune.hyperparameters, spec),
        )
        for arm in spec.arms
        if arm.tune is not None and arm.tune.trains and arm.tune.training_file is not None
        for seed in arm.tune.seeds
    ]


def with_store(
    hyperparameters: SupervisedHyperparameters, spec: ExperimentCreate
) -> SupervisedHyperparameters:
    """Have recipes ``rag`` and ``raft`` read what the experiment's own questions will."""
    if hyperparameters.recipe == "qa" or hyperparameters.retrieval is not None:
        return hyperparameters
    return hyperparameters.model_copy(
        update={
            "retrieval": Retrieval(
                vector_store_id=spec.vector_store_id,
                max_num_results=min(spec.retrieval.max_num_results, 20),
                within_document=spec.retrieval.within_document,
            )
        }
    )


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
