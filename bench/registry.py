"""Adapters into the registry as a job puts them there, without the hours of training."""

import hashlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path

from services.common.contracts.trainer import AdapterFile, AdapterRecord
from services.common.db import Database
from services.common.storage import ArtifactStore
from services.trainer.models import Adapter


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
        created_at=int(time.time()),
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


def register(db: Database, record: AdapterRecord) -> None:
    """As a job does at its end. A name that is taken is given other weights. The tables exist."""
    values = record.model_dump(exclude={"object"})
    values["created_at"] = datetime.fromtimestamp(record.created_at, UTC)
    with db.transaction() as session:
        session.merge(Adapter(**values))
