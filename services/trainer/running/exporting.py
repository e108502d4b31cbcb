"""One export in a worker's hands: fetched, merged where asked, and sent.

Done again after a kill, it writes the same files to the same place.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import structlog
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from services.common.leases import Heartbeat, claim, this_worker
from services.trainer import storage
from services.trainer.models import Adapter, Export
from services.trainer.running.attempt import NotOurs, Workshop
from services.trainer.running.launch import environment
from services.trainer.running.tether import tied

log = structlog.get_logger(__name__)

UNFINISHED = ("queued", "running")
LOOK_SECONDS = 0.5


class ExportFailed(Exception):
    """The export cannot succeed, whoever tries again; in a sentence for the caller."""


def export(shop: Workshop, export_id: str) -> None:
    """Do the export, unless it is finished or in another worker's hands."""
    owner = this_worker()
    with shop.db.transaction() as session:
        if not claim(
            session, Export, export_id, owner=owner, statuses=UNFINISHED, lease=shop.lease
        ):
            return
        row = storage.get_export(session, export_id)
        assert row is not None  # just claimed
        row.status = "running"
        adapter = storage.get_adapter(session, row.adapter_id)
        assert adapter is not None  # the registry forgets nothing
    url, error = None, None
    with Heartbeat(
        shop.db, Export, export_id, owner=owner, statuses=UNFINISHED, lease=shop.lease
    ) as heartbeat:
        try:
            url = _export(shop, row, adapter, lost=heartbeat.lost.is_set)
        except NotOurs:
            return
        except ExportFailed as failed:
            error = str(failed)
        except Exception as unforeseen:  # stores and hubs raise what their libraries raise
            log.warning("export_failed", export=export_id, error=repr(unforeseen))
            if row.attempts < shop.settings.max_attempts:
                return  # the lease runs out, and another attempt is made
            error = "The destination did not take the files; ask the trainer's operator."
    with shop.db.transaction() as session:
        row = storage.get_export(session, export_id)
        if row is None or row.lease_owner != owner:
            return
        row.status, row.finished_at, row.url = (
            "failed" if error else "succeeded",
            storage.now(),
            url,
        )
        row.error = {"code": "export_failed", "message": error} if error else None
        row.lease_owner = row.lease_expires_at = None


def _export(shop: Workshop, row: Export, adapter: Adapter, *, lost: Callable[[], bool]) -> str:
    """Where the files ended. Raises ``ExportFailed``, ``NotOurs``."""
    with tempfile.TemporaryDirectory(prefix="fineproof-export-") as folder:
        files = Path(folder) / "adapter"
        files.mkdir()
        place = adapter.url.removeprefix(shop.store.url).lstrip("/")
        for name in (file["name"] for file in adapter.files):
            shop.store.fetch(f"{place}/{name}", files / name)
        if row.merge:
            files = _merge(shop, adapter, files, Path(folder) / "merged", lost=lost)
        if lost():
            raise NotOurs
        if row.destination["type"] == "url":
            return _put(files, row.destination["url"])
        return _push(shop, files, adapter, row)


def _merge(
    shop: Workshop, adapter: Adapter, source: Path, target: Path, *, lost: Callable[[], bool]
) -> Path:
    """Full weights, made by a child process: torch stays out of this one, and its memory goes."""
    base = shop.settings.base_models.get(adapter.base_model)
    if base is None:
        raise ExportFailed(f"The base model '{adapter.base_model}' is not here any more.")
    module = "services.trainer.training.merge"
    argv = [sys.executable, "-m", module, base, str(source), str(target)]
    output = target.with_suffix(".log")
    with output.open("wb") as log_file:
        child = subprocess.Popen(
            tied(argv),
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=subprocess.STDOUT,
            env=environment("cpu", {}, offline=Path(base).is_dir()),
        )
        try:
            while child.poll() is None:
                time.sleep(LOOK_SECONDS)
                if lost() or shop.stopping():
                    raise NotOurs
        finally:
            child.kill()
            child.wait()
    if child.returncode != 0:
        raise RuntimeError(output.read_text(errors="replace")[-2000:])
    return target


def _put(folder: Path, url: str) -> str:
    fs, root = fsspec.core.url_to_fs(url.rstrip("/"))
    fs.makedirs(root, exist_ok=True)
    for path in sorted(folder.iterdir()):
        fs.put_file(str(path), f"{root}/{path.name}")
    return url


def _push(shop: Workshop, folder: Path, adapter: Adapter, row: Export) -> str:
    token = shop.settings.huggingface_token
    if token is None:
        raise ExportFailed("This trainer holds no token for Hugging Face any more.")
    hub = HfApi(endpoint=shop.settings.huggingface_endpoint, token=token.get_secret_value())
    repo_id = row.destination["repo_id"]
    try:
        created = hub.create_repo(repo_id, private=row.destination["private"], exist_ok=True)
        hub.upload_folder(
            repo_id=repo_id, folder_path=folder, commit_message=f"{adapter.id}, step {adapter.step}"
        )
    except OfflineModeIsEnabled as offline:
        raise ExportFailed("This trainer is told to stay offline, by HF_HUB_OFFLINE.") from offline
    except HfHubHTTPError as refused:
        if refused.response.status_code >= 500:
            raise
        raise ExportFailed(
            f"Hugging Face refused '{repo_id}' with status {refused.response.status_code}."
        ) from refused
    return str(created)
