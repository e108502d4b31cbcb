"""Where a run's metrics go beside its folder: TensorBoard always, MLflow and W&B when told to.

Their libraries read the environment, which the worker has prepared; see ``services.trainer.
trackers``. A tracker that fails is left out from then on: it is no reason to lose a training.
"""

import os
from functools import partial
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback
from transformers.integrations import MLflowCallback, TensorBoardCallback, WandbCallback

from services.trainer.training.config import RunFolder, write_whole
from services.trainer.training.plan import RANK
from services.trainer.training.progress import Message, Reporter

EVENTS = ("on_train_begin", "on_log", "on_save", "on_predict", "on_train_end")


def trackers(folder: RunFolder, reporter: Reporter, *, resumed_at: int) -> list[TrainerCallback]:
    """For the main process; ``resumed_at`` is the step of the checkpoint it goes on from."""
    if RANK != 0:
        return []
    # Steps after the checkpoint were done by a process that died, and are shown once.
    writer = SummaryWriter(str(folder.tensorboard), purge_step=resumed_at + 1)
    kept = [Guarded("TensorBoard", TensorBoardCallback(writer), reporter)]
    if "MLFLOW_TRACKING_URI" in os.environ:
        kept.append(Guarded("MLflow", ContinuedMLflow(folder), reporter))
    if "WANDB_PROJECT" in os.environ:
        os.environ["WANDB_DIR"] = str(folder.path)
        kept.append(Guarded("Weights & Biases", WandbCallback(), reporter))
    return kept


class ContinuedMLflow(MLflowCallback):  # type: ignore[misc]
    """A run that is taken up again goes on as the same run in MLflow."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._known = folder.path / "mlflow-run"
        if self._known.exists():
            os.environ["MLFLOW_RUN_ID"] = self._known.read_text()

    def setup(self, args: Any, state: Any, model: Any) -> None:
        super().setup(args, state, model)
        run = self._ml_flow.active_run()
        if run is not None:
            write_whole(self._known, run.info.run_id)


class Guarded(TrainerCallback):  # type: ignore[misc]
    """A tracker's callback, whose failure is told and goes no further."""

    def __init__(self, name: str, callback: TrainerCallback, reporter: Reporter) -> None:
        self._name = name
        self._callback: TrainerCallback | None = callback
        self._reporter = reporter
        for event in EVENTS:
            setattr(self, event, partial(self._pass_on, event))

    def _pass_on(self, event: str, *args: Any, **kwargs: Any) -> None:
        if self._callback is None:
            return
        try:
            getattr(self._callback, event)(*args, **kwargs)
        except Exception as error:  # theirs, of any kind
            self._callback = None
            self._reporter.write(
                Message(
                    level="warn",
                    message=f"{self._name} failed ({type(error).__name__}); the training goes on "
                    "without it.",
                )
            )
