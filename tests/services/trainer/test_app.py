import subprocess
import sys

from services.trainer.models import Base
from services.trainer.running.attempt import Workshop
from tests.migrations import assert_migrated


def test_the_migrations_build_the_tables_the_code_describes(workshop: Workshop) -> None:
    assert_migrated(workshop.db.engine, Base.metadata)


def test_importing_the_application_does_no_work() -> None:
    code = (
        "import sys, services.trainer.main; "
        "assert not {'torch', 'transformers', 'peft', 'trl'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
