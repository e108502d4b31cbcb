"""One worker's turn at one experiment: what its phases share."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.common.contracts.budget import Spent
from services.common.contracts.evaluator import ExperimentCreate
from services.common.storage import ArtifactStore
from services.evaluator import storage
from services.evaluator.concurrency import Concurrency
from services.evaluator.metrics import ScoreMany
from services.evaluator.peers import Peers
from services.evaluator.settings import EvaluatorSettings
from services.evaluator.spending import check
from services.evaluator.turns import Turn


@dataclass(frozen=True, kw_only=True)
class Run(Turn):
    """``spec`` is fixed for the life of the experiment.

    Whatever is asked of a model is asked of ``peers.models`` by ``concurrency.ask``. ``similarity``
    is None where the service has no embedding model.
    """

    created_at: int
    name: str
    spec: ExperimentCreate
    dataset_sha256: str
    peers: Peers
    artifacts: ArtifactStore
    settings: EvaluatorSettings
    concurrency: Concurrency
    similarity: ScoreMany | None = None

    @property
    def experiment_id(self) -> str:
        return self.row_id

    async def enter(self, phase: str, *, done: int, total: int) -> None:
        """Begin a phase. Raises ``BudgetExceeded`` where the budget is spent already, but for the
        last one, which says what was paid for."""
        spent = await self.write(
            lambda session: self._enter(
                session,
                status="in_progress",
                phase=phase,
                done=done,
                total=total,
                seconds_left=None,
            )
        )
        if phase != "measuring":
            check(self.spec.budget, spent)

    def _enter(self, session: Session, **fields: object) -> Spent:
        storage.set_fields(session, self.experiment_id, **fields)
        return storage.add_spent(session, self.experiment_id, Spent())
