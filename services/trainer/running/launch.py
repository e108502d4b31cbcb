"""The training process: started through ``accelerate launch``, followed, and stopped."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from services.trainer.running.tether import tied
from services.trainer.trackers import PREFIXES
from services.trainer.training.config import Failure, RunFolder

log = structlog.get_logger(__name__)

MODULE = "services.trainer.training.run"
GRACE_SECONDS = 5.0
TAIL_BYTES = 64 * 1024
ALL_DEVICES = "all"
"""The slot of a machine with GPUs whose operator named none: every one that can be seen."""

KILLED, DISK_FULL = "training_killed", "disk_full"

_OOM_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?([A-Z]\w*(?:Error|Exception|Interrupt)): (.+)$")
_PATH = re.compile(r"(?:/[\w.@+-]+){2,}/?")


def default_arguments(devices: str) -> tuple[str, ...]:
    """``accelerate launch`` decides for itself what to do with GPUs."""
    if devices.startswith("cpu"):
        return ("--cpu", "--num_processes", "1")
    # Two jobs with several GPUs each would meet at accelerate's one default port.
    return ("--main_process_port", "0") if "," in devices else ()


class TrainingProcess:
    """``accelerate launch`` and all it starts: one process group, tied to this process's life."""

    def __init__(
        self,
        folder: RunFolder,
        arguments: tuple[str, ...] | None,
        *,
        devices: str,
        offline: bool,
        trackers: Mapping[str, str],
    ) -> None:
        launch = [sys.executable, "-m", "accelerate.commands.launch"]
        chosen = default_arguments(devices) if arguments is None else arguments
        argv = [*launch, *chosen, "--module", MODULE, str(folder.path)]
        self._folder = folder
        # By a process before this one.
        for left in (folder.failure, folder.plan, folder.pause, folder.paused):
            left.unlink(missing_ok=True)
        self._output = folder.output.open("ab")
        self._said_from = self._output.tell()
        self._oom_kills = oom_kills()
        self._popen = subprocess.Popen(
            tied(argv),
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment(devices, trackers, offline=offline) | compilation(folder.path.parent),
        )
        log.info("training_started", pid=self._popen.pid, folder=str(folder.path))

    @property
    def is_running(self) -> bool:
        # Not reaped by looking: its id stays the group's until close() has signalled the group.
        how = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._popen.pid, how) is None

    def pause(self) -> None:
        """Ask it to finish its step, save a checkpoint and end; ask as often as you like.

        It ends as ``folder.paused`` says, unless it came to its end, or failed, before it looked.
        """
        self._folder.pause.touch()

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

    def failure(self) -> Failure:
        """Why the process, which is closed, came to no result."""
        oom_killed = oom_kills() > self._oom_kills
        printed = tail(self._folder.output, self._said_from)
        return explain(self._folder, self._popen.wait(), printed, oom_killed=oom_killed)


def environment(devices: str, trackers: Mapping[str, str], *, offline: bool) -> dict[str, str]:
    """The training process learns no database and no key but those of ``trackers``: our settings
    stay behind."""
    hidden = ("FINEPROOF_", *PREFIXES)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    kept |= {
        **trackers,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }
    if devices != ALL_DEVICES:
        kept["CUDA_VISIBLE_DEVICES"] = "" if devices.startswith("cpu") else devices
    return kept | ({"HF_HUB_OFFLINE": "1"} if offline else {})


def compilation(work_dir: Path) -> dict[str, str]:
    """What torch compiles is kept beside the runs, for the next; in one process, which is killed
    with the training, and not in torch's pool of them."""
    return {
        "TORCHINDUCTOR_CACHE_DIR": str(work_dir.absolute() / "compiled"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }


def oom_kills() -> int:
    """Kills for memory that the kernel has counted, on this machine and in our control group.

    The first count is in ``/proc/vmstat`` (proc(5)), the others in cgroup 2's ``memory.events`` and
    cgroup 1's ``memory.oom_control``; a container sees its group as the root. Zero where none can
    be read: a killed process then counts as one that somebody killed.
    """
    places = [Path("/proc/vmstat")]
    groups = Path("/proc/self/cgroup")
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, group = line.split(":", 2)
        if controllers in ("", "memory"):
            root = Path("/sys/fs/cgroup") / controllers
            events = "memory.oom_control" if controllers else "memory.events"
            places += [root / events, root / group.lstrip("/") / events]
    counts = 0
    for place in set(places):
        with contextlib.suppress(OSError):
            counts += sum(int(count) for count in _OOM_KILLS.findall(place.read_text()))
    return counts


def explain(folder: RunFolder, exit_code: int, printed: str, *, oom_killed: bool) -> Failure:
    """Why the process failed: its own word, else the end of what it printed.

    ``oom_killed`` says that the kernel killed something for memory meanwhile.
    """
    if folder.failure.exists():
        return Failure.model_validate_json(folder.failure.read_bytes())
    if "SIGKILL" in printed or exit_code == -signal.SIGKILL:
        return (
            Failure(
                code="out_of_memory",
                message="The training process was killed because the machine ran out of memory; "
                "try a smaller batch_size or max_length.",
            )
            if oom_killed
            else Failure(code=KILLED, message="The training process was killed by signal 9.")
        )
    # What it printed lies on the same disk, and may have been cut off before it said so.
    if "No space left on device" in printed or shutil.disk_usage(folder.path).free < 2**20:
        return Failure(code=DISK_FULL, message="The trainer's disk is full.")
    said = [found for line in printed.splitlines() if (found := _EXCEPTION.match(line.strip()))]
    # The launcher's own complaint about the exit status says nothing.
    told = [found for found in said if found[1] not in ("CalledProcessError", "ChildFailedError")]
    reason = f"{told[-1][1]}: {told[-1][2]}" if told else f"it exited with status {exit_code}"
    return Failure(
        code="training_failed",
        message=f"The training process failed ({_PATH.sub('…', reason)[:300]}).",
    )


def tail(path: Path, since: int = 0) -> str:
    with path.open("rb") as file:
        file.seek(max(since, path.stat().st_size - TAIL_BYTES))
        return file.read().decode(errors="replace")
