"""Adapters as the trainer publishes them, without the hours of training."""

from pathlib import Path

from bench.registry import publish, register
from services.common.contracts.trainer import AdapterRecord
from services.common.db import Database
from services.common.storage import ArtifactStore
from services.trainer.main import create_app
from services.trainer.settings import TrainerSettings


def folder_of(record: AdapterRecord) -> Path:
    """Where the stored files lie, to be tampered with."""
    return Path(record.url.removeprefix("file://"))


class Registry:
    """The real trainer, whose table of adapters a test writes."""

    def __init__(self, database_url: str, storage_url: str) -> None:
        self.store = ArtifactStore(storage_url)
        self.records: dict[str, AdapterRecord] = {}
        self.url = ""
        self.app = create_app(
            TrainerSettings(
                mode="local", database_url=database_url, storage_url=storage_url, base_models={}
            )
        )
        self._database_url = database_url

    def add(self, name: str, folder: Path, *, base_model: str) -> None:
        """Register an adapter, or another one under a name that is taken. The trainer must run."""
        record = publish(self.store, name, folder, base_model=base_model)
        db = Database(self._database_url, pool_size=1)
        register(db, record)
        db.close()
        self.records[name] = record
