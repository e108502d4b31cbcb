"""Adapters as the trainer publishes them, without the hours of training."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

from services.common.contracts.trainer import AdapterFile, AdapterRecord
from services.common.db import Database
from services.common.storage import ArtifactStore
from services.trainer.main import create_app
from services.trainer.models import Adapter
from services.trainer.settings import TrainerSettings


def publish(store: ArtifactStore, name: str, folder: Path, *, base_model: str) -> AdapterRecord:
    """Put the files into the artifact store as they are in ``folder`` now, and describe them."""
    job = name.rsplit(":", 1)[-1]
    stored = {
        path.name: store.put(f"adapters/{job}/{path.name}", path) for path in folder.iterdir()
    }
    files = [
        AdapterFile(name=file, bytes=it.bytes, sha256=it.sha256) for file, it in stored.items()
    ]
    config = json.loads((folder / "adapter_config.json").read_text())
    return AdapterRecord(
        id=name,
        created_at=1_700_000_000,
        base_model=base_model,
        recipe="qa",
        job_id=job,
        step=1,
        sha256=stored["adapter_model.safetensors"].sha256,
        dataset_sha256=hashlib.sha256(b"none").hexdigest(),
        rank=config["r"],
        target_modules=sorted(config["target_modules"]),
        url=store.url_of(f"adapters/{job}"),
        files=files,
        metrics={},
    )


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
        values = record.model_dump(exclude={"object"})
        values["created_at"] = datetime.fromtimestamp(record.created_at, UTC)
        db = Database(self._database_url, pool_size=1)
        with db.transaction() as session:
            session.merge(Adapter(**values))
        db.close()
        self.records[name] = record
