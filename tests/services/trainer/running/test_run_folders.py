import os
from datetime import timedelta

from services.trainer.running.attempt import Workshop
from services.trainer.running.housekeeping import clear_failed_runs
from services.trainer.storage import now
from tests.services.trainer.running.test_turns import job


def test_only_the_folders_of_jobs_that_failed_long_ago_are_removed(workshop: Workshop) -> None:
    long_ago, lately = now() - timedelta(days=8), now() - timedelta(days=1)
    jobs = [
        job("ftjob_old", status="failed", finished_at=long_ago),
        job("ftjob_new", status="failed", finished_at=lately),
        job("ftjob_cancelled", status="cancelled", finished_at=long_ago),
        job("ftjob_running", status="running"),
    ]
    work_dir = workshop.settings.work_dir
    for each in jobs:
        (work_dir / each.id).mkdir(parents=True)
        os.utime(work_dir / each.id, (long_ago.timestamp(), long_ago.timestamp()))
    (work_dir / "somebody's").mkdir()
    with workshop.db.transaction() as session:
        session.add_all(jobs)
    clear_failed_runs(workshop.db, workshop.settings)
    assert {path.name for path in work_dir.iterdir()} == {
        "ftjob_new",
        "ftjob_cancelled",
        "ftjob_running",
        "somebody's",
    }
