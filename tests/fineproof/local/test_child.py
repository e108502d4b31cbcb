"""Programs started as children of the stack."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fineproof.local.child import tied

SHOW = "import os, pathlib; print(os.nice(0), pathlib.Path('/proc/self/autogroup').read_text())"


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="a kernel without autogroup")
def test_a_program_that_stands_back_does_so_for_other_sessions_too() -> None:
    for nice in (0, 5):
        argv = tied([sys.executable, "-c", SHOW], death_signal=signal.SIGKILL, nice=nice)
        shown = subprocess.check_output(argv, start_new_session=True, text=True).split()
        assert (shown[0], shown[-1]) == (str(nice), str(nice))
