"""The evaluator's wire of what happens to an experiment, as it happens."""

from typing import Any, Literal

from services.common.contracts.base import Wire


class ExperimentEvent(Wire):
    """``type`` says what ``data`` holds.

    ``phase`` and ``progress``: ``status`` and an ``ExperimentProgress``; of ``progress`` only the
    latest is kept. ``warning``: its ``code`` and the ``count`` so far. ``done``: ``status``,
    ``verdict`` and ``error`` of an experiment that has ended.
    """

    id: str
    object: Literal["experiment.event"] = "experiment.event"
    created_at: int
    type: Literal["phase", "progress", "warning", "done"]
    message: str
    data: dict[str, Any]
