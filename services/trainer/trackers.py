"""What the training process is told of experiment trackers: nothing of one that is not used."""

import json
import os

from services.common.errors import InvalidRequest
from services.trainer.models import Job
from services.trainer.settings import TrainerSettings

PREFIXES = ("MLFLOW_", "WANDB_")
"""Names that reach the training process through here only."""


def environment(settings: TrainerSettings, job: Job) -> dict[str, str]:
    """Variables that MLflow and Weights & Biases read, keys among them; never to be logged.

    The operator's own ``MLFLOW_*``, such as a token, go along where there is a tracking server.
    """
    told: dict[str, str] = {}
    if settings.mlflow_tracking_uri is not None:
        told |= {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
        told["MLFLOW_TRACKING_URI"] = settings.mlflow_tracking_uri
        told.setdefault("MLFLOW_EXPERIMENT_NAME", "fineproof")
        told["MLFLOW_TAGS"] = json.dumps({"fineproof.job": job.id, "fineproof.model": job.model})
        # A server that is away must not hold up a training for its defaults, of many minutes.
        told.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        told.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    for asked in (each["wandb"] for each in job.integrations if each["type"] == "wandb"):
        told |= {
            "WANDB_PROJECT": asked["project"],
            "WANDB_TAGS": ",".join(asked["tags"]),
            "WANDB_MODE": settings.wandb_mode,
            # A run that is resumed goes on as the same run there.
            "WANDB_RUN_ID": job.id,
            "WANDB_RESUME": "allow",
            "WANDB_SILENT": "true",
            "WANDB_CONSOLE": "off",
        }
        if asked["entity"] is not None:
            told["WANDB_ENTITY"] = asked["entity"]
        if settings.wandb_base_url is not None:
            told["WANDB_BASE_URL"] = settings.wandb_base_url
        if settings.wandb_api_key is not None:
            told["WANDB_API_KEY"] = settings.wandb_api_key.get_secret_value()
    return told


def check_integrations(settings: TrainerSettings, integrations: object) -> None:
    """Raises ``InvalidRequest`` for a tracker this trainer has no key for."""
    if integrations and settings.wandb_mode == "online" and settings.wandb_api_key is None:
        raise InvalidRequest(
            "This trainer holds no key for Weights & Biases; its operator sets "
            "FINEPROOF_TRAINER_WANDB_API_KEY.",
            code="integration_not_configured",
            param="integrations",
        )
