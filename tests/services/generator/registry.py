"""The trainer's registry of adapters, as far as the generator asks it: one route, real HTTP."""

import hashlib
import json
import shutil
from pathlib import Path

from fastapi import FastAPI

from services.common.contracts.trainer import AdapterFile, AdapterRecord
from services.common.errors import NotFound, add_handlers
from services.common.storage import ArtifactStore


class Registry:
    """Holds whatever adapters a test registers; their files go into the shared artifact store."""

    def __init__(self, storage_url: str) -> None:
        self.store = ArtifactStore(storage_url)
        self.records: dict[str, AdapterRecord] = {}
        self.asked = 0
        self.url = ""
        self.app = FastAPI()
        add_handlers(self.app)
        self.app.get("/v1/fine_tuning/adapters/{name}")(self._adapter)

    def add(self, name: str, folder: Path, *, base_model: str) -> AdapterRecord:
        """Register the files as they are in ``folder`` now."""
        job = name.rsplit(":", 1)[-1]
        for file in folder.iterdir():
            self.store.put(f"adapters/{job}/{file.name}", file)
        record = record_of(
            folder, name, base_model=base_model, url=self.store.url_of(f"adapters/{job}")
        )
        self.records[name] = record
        return record

    def folder_of(self, name: str) -> Path:
        """Where the stored files lie, to be tampered with."""
        return Path(self.records[name].url.removeprefix("file://"))

    def remove(self, name: str) -> None:
        shutil.rmtree(self.folder_of(name))
        del self.records[name]

    async def _adapter(self, name: str) -> AdapterRecord:
        self.asked += 1
        if name not in self.records:
            raise NotFound(f"No adapter is called '{name}'.")
        return self.records[name]


def record_of(folder: Path, name: str, *, base_model: str, url: str) -> AdapterRecord:
    """The registry's record of the files as they are in ``folder`` now."""
    files = [
        AdapterFile(
            name=path.name,
            bytes=path.stat().st_size,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.iterdir())
    ]
    config = json.loads((folder / "adapter_config.json").read_text())
    return AdapterRecord(
        id=name,
        created_at=1_700_000_000,
        base_model=base_model,
        recipe="qa",
        job_id=name.rsplit(":", 1)[-1],
        step=1,
        sha256=next(f.sha256 for f in files if f.name == "adapter_model.safetensors"),
        dataset_sha256="0" * 64,
        rank=config["r"],
        target_modules=sorted(config["target_modules"]),
        url=url,
        files=files,
        metrics={},
    )
