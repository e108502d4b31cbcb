"""The generator's wire of aliases: names that stand for an adapter, and may be switched."""

from typing import Annotated, Literal

from pydantic import Field

from services.common.contracts.base import Ask, Id, Wire

_Ref = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class GateRef(Ask):
    """A gate of the evaluator's, ``GET /v1/experiments/{experiment_id}/gates/{gate_id}``."""

    experiment_id: _Ref
    gate_id: _Ref


class AliasCreate(Ask):
    """Let ``name`` stand for ``adapter``, in place of the one it stands for so far if there is one.

    A protected name needs a ``gate`` that this adapter has passed.
    """

    name: Id
    adapter: Id
    gate: GateRef | None = None


class Alias(Wire):
    """``id`` is the name that callers give as ``model``. ``since`` is when, and ``created_by``
    whose key, let it stand for this ``adapter``."""

    id: str
    object: Literal["adapter.alias"] = "adapter.alias"
    created_at: int
    adapter: str
    sha256: str
    protected: bool
    gate: GateRef | None
    since: int
    created_by: str


class AliasChange(Wire):
    """What an alias stood for from ``created_at`` on; ``adapter`` is null where it was deleted."""

    id: str
    object: Literal["adapter.alias.change"] = "adapter.alias.change"
    created_at: int
    created_by: str
    alias: str
    adapter: str | None
    sha256: str | None
    gate: GateRef | None
