"""What the rules need beyond a session."""

from dataclasses import dataclass

from services.common.storage import ArtifactStore
from services.common.tasks import TaskQueue
from services.common.watching import Watchers
from services.trainer.settings import TrainerSettings


@dataclass(frozen=True)
class Trainer:
    settings: TrainerSettings
    store: ArtifactStore
    queue: TaskQueue
    watchers: Watchers
