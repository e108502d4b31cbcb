"""The training process with little memory to train in, started in the place of ``run``.

Its address space ends ``NARROW_BYTES`` above what it takes once model and data are loaded, so that
torch's own allocator says no (setrlimit(2), RLIMIT_AS).
"""

import os
import resource
import sys
from pathlib import Path
from typing import Any

from services.trainer.training import run
from services.trainer.training.config import Plan


def taken() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def narrow(*args: Any) -> Plan:
    limit = taken() + int(os.environ["NARROW_BYTES"])
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    return make_plan(*args)


if __name__ == "__main__":
    make_plan = run.make_plan
    run.make_plan = narrow
    sys.exit(run.main())
