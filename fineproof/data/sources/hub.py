"""The public data sets on Hugging Face's hub, read as streams by ``datasets``."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from fineproof.errors import UserError

PARQUET = "refs/convert/parquet"
"""The hub's own copy of a data set in Parquet: since its version 4 ``datasets`` reads no data set
whose files only a script understands (it raises ``RuntimeError``)."""


def stream(
    name: str, *splits: str, config: str | None = None, revision: str | None = None
) -> Iterator[Mapping[str, Any]]:
    """Rows of ``splits``, one after the other. Raises :class:`UserError` where the hub, or what is
    kept of it on this machine, has no such data set, or none that can be read."""
    from datasets import load_dataset

    for split in splits:
        try:
            yield from load_dataset(name, config, split=split, revision=revision, streaming=True)
        except (OSError, ValueError, RuntimeError) as error:
            offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
            raise UserError(
                f"{name}, split {split}, cannot be read from the hub{offline}: "
                f"{type(error).__name__}. Give the path of the original file instead."
            ) from error


def objects(value: Any) -> list[dict[str, Any]]:
    """``{"a": [1, 2], "b": [3, 4]}`` as ``[{"a": 1, "b": 3}, {"a": 2, "b": 4}]``.

    The hub turns lists of objects round; what is a list already stays.
    """
    if isinstance(value, Mapping):
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    return list(value)
