"""OpenAI's own clients, the newest and the oldest that must work, walk the whole surface."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import openai
import pytest

from services.trainer import storage
from services.trainer.models import Checkpoint
from services.trainer.running.attempt import Workshop
from tests.clients import OLD, old_client, walked
from tests.services.trainer.conftest import BASE, fine_tune, pairs, registered

WALK = Path(__file__).parent / "walk.py"


def test_both_clients_walk_the_whole_surface(
    url: str, client: openai.OpenAI, upload: Callable[..., str], workshop: Workshop
) -> None:
    job_id = client.fine_tuning.jobs.create(model=BASE, training_file=upload(pairs(10))).id
    fine_tune(workshop, job_id)
    assert walked(WALK, url, BASE, job_id) == version("openai")
    assert walked(WALK, url, BASE, job_id, path=old_client()) == OLD


@pytest.fixture
def registry(workshop: Workshop) -> list[str]:
    """Names of five adapters, in the order of their registration."""
    names = [f"ft:{BASE}:mine:ftjob_{letter}" for letter in "cbaed"]
    return [registered(workshop, name) for name in names]


class AdapterItem(openai.BaseModel):
    id: str


def test_the_registry_pages_by_the_order_of_registration(
    client: openai.OpenAI, registry: list[str]
) -> None:
    for order, expected in (("asc", registry), ("desc", registry[::-1])):
        pages = client.get_api_list(
            "/fine_tuning/adapters",
            model=AdapterItem,
            page=openai.pagination.SyncCursorPage[AdapterItem],
            options={"params": {"limit": 2, "order": order}},
        )
        assert [adapter.id for adapter in pages] == expected


def test_checkpoints_page_newest_first(
    client: openai.OpenAI, upload: Callable[..., str], workshop: Workshop
) -> None:
    job_id = client.fine_tuning.jobs.create(model=BASE, training_file=upload(pairs(10))).id
    rows = [
        Checkpoint(
            id=f"ftckpt_{step:024x}",
            job_id=job_id,
            created_at=storage.now(),
            step=step,
            fine_tuned_model=f"ft:{step}",
            metrics={"train_loss": 1.0},
        )
        for step in (1, 2, 3)
    ]
    with workshop.db.transaction() as session:
        storage.add_all(session, rows)
    listed = client.fine_tuning.jobs.checkpoints.list(job_id, limit=1)
    assert [each.step_number for each in listed] == [3, 2, 1]
