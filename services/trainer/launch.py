"""The training process: started through ``accelerate launch``, followed, and stopped."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import structlog

from services.trainer.tether import tied
from services.trainer.training.config import Failure, RunFolder

log = structlog.get_logger(__name__)

MODULE = "services.trainer.training.sft"
GRACE_SECONDS = 5.0
TAIL_BYTES = 64 * 1024

_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?([A-Z]\w*(?:Error|Exception|Interrupt)): (.+)$")
_PATH = re.compile(r"(?:/[\w.@+-]+){2,}/?")


def default_arguments() -> tuple[str, ...]:
    """``accelerate launch`` decides for itself where there is a GPU."""
    on_gpu = Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
    return () if on_gpu else ("--cpu", "--num_processes", "1")


class TrainingProcess:
    """``accelerate launch`` and all it starts: one process group, tied to this process's life."""

    def __init__(
        self, folder: RunFolder, arguments: tuple[str, ...] | None, *, offline: bool
    ) -> None:
        launch = [sys.executable, "-m", "accelerate.commands.launch"]
        chosen = default_arguments() if arguments is None else arguments
        argv = [*launch, *chosen, "--module", MODULE, str(folder.path)]
        self._output = folder.output.open("ab")
        self._popen = subprocess.Popen(
            tied(argv),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment(offline=offline),
        )
        log.info("training_started", pid=self._popen.pid, folder=str(folder.path))

    @property
    def is_running(self) -> bool:
        # Not reaped by looking: its id stays the group's until close() has signalled the group.
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._popen.pid, how) is None

    def close(self) -> int:
        """End what is left of the group, asked first and killed after ``GRACE_SECONDS``.

        Gives the exit status of the launcher.
        """
        deadline = time.monotonic() + GRACE_SECONDS
        os.killpg(self._popen.pid, signal.SIGTERM)
        while self.is_running and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(self._popen.pid, signal.SIGKILL)
        self._output.close()
        return self._popen.wait()


def environment(*, offline: bool) -> dict[str, str]:
    """The training process learns no key and no database: our settings stay behind."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FINEPROOF_")}
    kept |= {
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    return kept | ({"HF_HUB_OFFLINE": "1"} if offline else {})


def explain(folder: RunFolder, exit_code: int) -> Failure:
    """Why the process failed: its own word, else the end of what it printed."""
    if folder.failure.exists():
        return Failure.model_validate_json(folder.failure.read_bytes())
    printed = tail(folder.output)
    if "SIGKILL" in printed or exit_code == -signal.SIGKILL:
        return Failure(
            code="out_of_memory",
            message="The training process was killed, most likely because the machine ran out of "
            "memory; try a smaller batch_size or max_length.",
        )
    said = [found for line in printed.splitlines() if (found := _EXCEPTION.match(line.strip()))]
    # The launcher's own complaint about the exit status says nothing.
    told = [found for found in said if found[1] not in ("CalledProcessError", "ChildFailedError")]
    reason = f"{told[-1][1]}: {told[-1][2]}" if told else f"it exited with status {exit_code}"
    return Failure(
        code="training_failed",
        message=f"The training process failed ({_PATH.sub('…', reason)[:300]}).",
    )


def tail(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace")
