"""What the workers lean on goes away: Redis, PostgreSQL, the disk, the artifact store."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from tests.faults.conftest import fill, small_disk
from tests.faults.trainer.conftest import Trainer, wait_for
from tests.servers import Server


@pytest.mark.parametrize("keeps", [True, False], ids=["with its data", "without its data"])
def test_redis_restarts_while_a_job_waits(
    trainer: Trainer, redis: Server, tmp_path: Path, keeps: bool
) -> None:
    job_id = trainer.create_job()
    restart(redis, tmp_path, keeps)
    trainer.start_worker()
    trainer.assert_as_undisturbed(job_id)


@pytest.mark.parametrize("keeps", [True, False], ids=["with its data", "without its data"])
def test_redis_restarts_while_a_job_runs(
    trainer: Trainer, redis: Server, tmp_path: Path, keeps: bool
) -> None:
    trainer.start_worker()
    job_id = trainer.create_job()
    trainer.wait_for_checkpoint(job_id)
    restart(redis, tmp_path, keeps)
    trainer.assert_as_undisturbed(job_id)
    assert trainer.row(job_id).attempts == 1  # by the one that had it
    told = " ".join(trainer.messages(job_id))
    assert "lost" not in told
    # The worker still answers to what comes.
    next_id = trainer.create_job()
    trainer.assert_as_undisturbed(next_id)


def restart(redis: Server, tmp_path: Path, keeps: bool) -> None:
    redis.stop()
    if not keeps:
        shutil.rmtree(tmp_path / "redis")
    redis.start()


class TestPostgres:
    @pytest.fixture
    def database_url(self, postgres: Server) -> str:
        return postgres.url

    def test_it_restarts_while_a_job_runs(self, trainer: Trainer, postgres: Server) -> None:
        trainer.start_worker()
        job_id = trainer.create_job()
        trainer.wait_for_checkpoint(job_id)
        postgres.stop()
        postgres.start()
        trainer.assert_as_undisturbed(job_id)


class TestDisk:
    @pytest.fixture
    def work_dir(self, tmp_path: Path) -> Iterator[Path]:
        with small_disk(tmp_path / "work", mebibytes=64) as folder:
            yield folder

    def test_it_is_full_at_a_checkpoint(self, trainer: Trainer, work_dir: Path) -> None:
        trainer.start_worker()
        job_id = trainer.create_job()
        trainer.wait_for_checkpoint(job_id)
        ballast = fill(work_dir, leaving=65536)
        trainer.wait_for_message(job_id, "The trainer's disk is full.")
        ballast.unlink()
        trainer.assert_as_undisturbed(job_id)


def test_the_artifact_store_is_away_when_the_adapter_is_done(trainer: Trainer) -> None:
    adapters = Path(urlparse(trainer.settings.storage_url).path) / "adapters"
    adapters.parent.mkdir(exist_ok=True)
    adapters.write_text("no folder, nothing can be put in")
    trainer.start_worker()
    job_id = trainer.create_job()
    trainer.wait_for_message(job_id, "The adapter is trained, and the artifact store did not")
    trained = wait_for((trainer.settings.work_dir / job_id / "result.json").stat)
    adapters.unlink()
    trainer.assert_as_undisturbed(job_id)
    result = (trainer.settings.work_dir / job_id / "result.json").stat()
    assert result.st_mtime_ns == trained.st_mtime_ns  # not trained again
