"""Which weights the base model has."""

from anyio.to_thread import run_sync
from huggingface_hub import model_info
from structlog import get_logger

from services.common import weights
from services.generator.adapters.weights import local_folder

log = get_logger(__name__)

_HUB_SECONDS = 10
"""How long the hub may be silent: the generator is not ready before."""


async def base_revision(model: str) -> str | None:
    """The name of its weights (``weights.revision``), which are all read for it in a thread; None
    where nobody can say. ``model`` is a folder or Hugging Face id."""
    try:
        return await run_sync(_revision, model)
    except Exception as error:  # an HTTP client of the hub's own choice has errors of its own
        log.warning("base_model_without_revision", model=model, error=repr(error))
        return None


def _revision(model: str) -> str | None:
    folder = local_folder(model)
    if folder is not None:
        return weights.revision(folder)
    return model_info(model, timeout=_HUB_SECONDS).sha
