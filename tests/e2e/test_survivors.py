"""What is left of a stack whose supervisor is killed. Runs after the walk, on the same stack."""

import time

import psutil
import pytest

from tests.e2e.conftest import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_killed_up_leaves_nothing_and_the_next_one_comes_up(stack: RunningStack) -> None:
    before = stack.processes()
    assert len(before) >= 10
    supervisors = [process for process in before if "up" in process.cmdline()]
    assert supervisors
    for process in supervisors:
        process.kill()
    psutil.wait_procs(before, timeout=60)
    deadline = time.monotonic() + 60
    while stack.processes() and time.monotonic() < deadline:
        time.sleep(0.5)
    assert stack.processes() == []

    up = stack.fineproof("up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
