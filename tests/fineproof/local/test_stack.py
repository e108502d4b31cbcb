"""The supervisor over small real processes: order, crashes, and nothing left behind."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fineproof.local import stack
from fineproof.local.processes import Identity, boot_id, everyone, find, identity_of_self
from fineproof.local.state import StackState, StateFile, locked
from fineproof.settings import Settings

SMALL = Path(__file__).with_name("small_stack.py")


def command_lines(home: Path) -> list[str]:
    """Of every living process that belongs to ``home``, by what it was started with."""
    found = []
    for process in everyone():
        try:
            raw = Path(f"/proc/{process.identity.pid}/cmdline").read_bytes()
        except OSError:
            continue
        line = raw.replace(b"\0", b" ").decode(errors="replace")
        if str(home) in line:
            found.append(line)
    return found


def engines(home: Path) -> list[str]:
    return [line for line in command_lines(home) if line.startswith("engine-of-")]


def roamers(home: Path) -> list[str]:
    return [line for line in command_lines(home) if "time.sleep(600) roamer-of-" in line]


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


class Small:
    """One run of the small stack."""

    def __init__(self, home: Path, kind: str) -> None:
        self.home = home
        self.output = home / "output"
        self.file = StateFile(home)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(SMALL), str(home), kind], stdout=output, stderr=output
            )

    @property
    def state(self) -> StackState:
        state = self.file.read()
        assert state is not None
        return state

    def ready(self) -> "Small":
        eventually(lambda: (s := self.file.read()) is not None and s.phase == "ready")
        return self

    def identity(self, name: str) -> Identity:
        found = next(p.identity for p in self.state.programs if p.name == name)
        assert found is not None
        return found

    def lines(self, name: str) -> list[str]:
        return (self.home / name).read_text().split()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for process in everyone():  # a failing test must not leave its processes to the next
        line = Path(f"/proc/{process.identity.pid}/cmdline")
        if line.exists() and str(tmp_path).encode() in line.read_bytes():
            os.kill(process.identity.pid, signal.SIGKILL)


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings(home=home, port=8000, model="small")


def quiet() -> tuple[Console, io.StringIO]:
    told = io.StringIO()
    return Console(file=told, width=200), told


def test_programs_start_after_what_they_need_and_stop_before_it(home: Path) -> None:
    small = Small(home, "good").ready()
    small.process.send_signal(signal.SIGTERM)
    assert small.process.wait(30) == 0
    assert small.lines("started") == ["base", "middle", "top"]
    assert small.lines("stopped") == ["top", "middle", "base"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_orderly_stop_leaves_no_process_and_no_lock(home: Path, how: signal.Signals) -> None:
    small = Small(home, "good").ready()
    eventually(lambda: len(engines(home)) == len(roamers(home)) == 1)
    small.process.send_signal(how)
    assert small.process.wait(30) == 0
    assert command_lines(home) == []
    assert list((home / "run").iterdir()) == []


def test_down_stops_it_from_outside_and_waits(home: Path, settings: Settings) -> None:
    small = Small(home, "good").ready()
    console, told = quiet()
    stack.down(settings, console)
    assert command_lines(home) == []
    assert "Stopped." in told.getvalue()
    assert small.process.wait(5) == 0


def test_down_without_a_stack_says_so(settings: Settings) -> None:
    console, told = quiet()
    stack.down(settings, console)
    assert told.getvalue() == "Nothing was running.\n"


def test_nothing_survives_a_killed_supervisor(home: Path) -> None:
    small = Small(home, "good").ready()
    small.process.kill()
    small.process.wait()
    eventually(lambda: command_lines(home) == [])
    assert small.lines("stopped") != []  # they were asked before they were killed
    assert list((home / "run").iterdir()) == []


def test_the_next_start_cleans_up_when_the_warden_was_killed_too(
    home: Path, settings: Settings
) -> None:
    small = Small(home, "good").ready()
    for process in everyone():
        line = Path(f"/proc/{process.identity.pid}/cmdline").read_bytes()
        if b"fineproof.local.warden" in line and str(home).encode() in line:
            os.kill(process.identity.pid, signal.SIGKILL)
    small.process.kill()
    small.process.wait()
    eventually(lambda: not any("-c" in line and "base" in line for line in command_lines(home)))
    assert len(engines(home)) == 1
    console, told = quiet()
    with stack.claimed(settings, console) as state:
        assert state is None
        assert command_lines(home) == []
    assert told.getvalue() == "Cleaned up what a killed stack left: middle.\n"


def test_down_right_after_a_kill_leaves_nothing(home: Path, settings: Settings) -> None:
    small = Small(home, "good").ready()
    small.process.kill()
    small.process.wait()
    stack.down(settings, quiet()[0])
    assert command_lines(home) == []
    assert list((home / "run").iterdir()) == []


def test_a_crashed_program_is_started_again_without_its_old_children(home: Path) -> None:
    small = Small(home, "good").ready()
    before = small.identity("middle")
    os.kill(before.pid, signal.SIGKILL)
    eventually(
        lambda: any(
            p.name == "middle" and p.restarts == 1 and p.phase == "ready"
            for p in small.state.programs
        )
    )
    assert small.identity("middle") != before
    eventually(lambda: len(engines(home)) == len(roamers(home)) == 1)
    assert small.state.phase == "ready"
    small.process.send_signal(signal.SIGTERM)
    assert small.process.wait(30) == 0
    assert "middle exited with code -9; starts again in 1 s" in small.output.read_text()


def test_a_program_that_dies_at_the_start_ends_the_stack_with_its_last_words(home: Path) -> None:
    small = Small(home, "dying")
    assert small.process.wait(30) == 1
    assert command_lines(home) == []
    assert small.state.phase == "failed"
    assert small.state.message.startswith("dying did not start; it exited with code 3.")
    assert "the disk is on fire" in small.state.message
    assert "the disk is on fire" in small.output.read_text()


def test_a_program_that_never_gets_ready_is_told_with_what_it_waits_for(home: Path) -> None:
    small = Small(home, "deaf")
    assert small.process.wait(30) == 1
    assert command_lines(home) == []
    assert "it was not ready after 1 s (never ready)" in small.state.message


def test_a_second_signal_does_not_wait_for_the_deaf(home: Path) -> None:
    small = Small(home, "good").ready()
    base = small.identity("base")
    os.kill(base.pid, signal.SIGSTOP)  # it cannot hear SIGTERM now
    small.process.send_signal(signal.SIGINT)
    eventually(lambda: small.state.phase == "stopping")
    small.process.send_signal(signal.SIGINT)
    assert small.process.wait(4.5) == 0  # less than its grace of 5 s
    assert command_lines(home) == []


def test_a_second_up_finds_the_first_one(home: Path, settings: Settings) -> None:
    small = Small(home, "good").ready()
    console, told = quiet()
    assert stack.up(settings, console) is True
    assert told.getvalue() == "Already up at http://127.0.0.1:8000.\n"
    small.process.send_signal(signal.SIGTERM)
    assert small.process.wait(30) == 0


def test_status_tells_pids_while_it_runs_and_none_once_it_was_killed(
    home: Path, settings: Settings
) -> None:
    small = Small(home, "good").ready()
    running = stack.summary(stack.last_state(home), settings)
    assert running["state"] == "ready"
    assert {p["name"]: p["state"] for p in running["processes"]} == {
        "base": "ready",
        "middle": "ready",
        "top": "ready",
    }
    assert all(find(p["pid"]) for p in running["processes"])
    small.process.kill()
    small.process.wait()
    killed = stack.summary(stack.last_state(home), settings)
    assert killed["state"] == "down"
    assert [p["pid"] for p in killed["processes"] if p["pid"]] == []
    eventually(lambda: command_lines(home) == [])


def test_a_recycled_process_id_is_left_alone(home: Path, settings: Settings) -> None:
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        small = Small(home, "good").ready()
        state = small.state
        small.process.kill()
        small.process.wait()
        eventually(lambda: command_lines(home) == [])
        real = find(bystander.pid)
        assert real is not None
        state.programs[0].identity = Identity(bystander.pid, real.identity.started - 1)
        small.file.write(state)
        stack.down(settings, quiet()[0])
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_identities_of_another_boot_name_nobody(home: Path, settings: Settings) -> None:
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        real = find(bystander.pid)
        assert real is not None
        small = Small(home, "good").ready()
        state = small.state
        small.process.send_signal(signal.SIGTERM)
        small.process.wait(30)
        state.boot = "another-" + boot_id()
        state.programs[0].identity = real.identity
        small.file.write(state)
        stack.down(settings, quiet()[0])
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_half_written_state_is_no_state(home: Path) -> None:
    file = StateFile(home)
    file.write(StackState(str(home), "u", "m", identity_of_self()))
    assert file.read() is not None
    file.path.write_text(file.path.read_text()[:50])
    assert file.read() is None


def test_the_lock_admits_one_and_outlives_no_holder(home: Path) -> None:
    with locked(home) as first:
        assert first
        with locked(home) as second:
            assert not second
    with locked(home) as third:
        assert third
    assert not (home / "run" / "lock").exists()
