"""What a person reads while the stack comes up."""

import io

import pytest
from rich.console import Console

from fineproof.local.display import Display, table
from fineproof.local.processes import identity_of_self
from fineproof.local.state import ProgramState, StackState


@pytest.fixture
def state() -> StackState:
    vllm = ProgramState("vllm", "http://127.0.0.1:8005", "/home/logs/vllm.log", 0, 15, 10.0)
    redis = ProgramState("redis", "127.0.0.1:8006", "/home/logs/redis.log", 0, 15, 10.0)
    return StackState("/home", "http://x", "m", identity_of_self(), programs=[vllm, redis])


def text(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_without_a_terminal_each_change_is_one_line(state: StackState) -> None:
    console = Console(file=io.StringIO(), width=200)
    vllm = state.programs[0]
    with Display(console) as display:
        display.show(state)
        vllm.phase = "starting"
        display.show(state)
        display.show(state)
        vllm.phase, vllm.took = "ready", 12.34
        display.show(state)
    assert text(console).splitlines() == [
        "vllm is starting",
        "vllm is ready after 12.3 s at http://127.0.0.1:8005",
    ]


def test_a_crash_after_the_table_is_told_with_what_happens_next(state: StackState) -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    vllm = state.programs[0]
    with Display(console) as display:
        vllm.phase, vllm.took = "ready", 1.0
        state.phase = "ready"
        display.show(state)
        shown = len(text(console))
        vllm.phase, vllm.restarts = "restarting", 1
        vllm.note = "exited with code -9; starts again in 1 s"
        display.show(state)
    told = text(console)[shown:]
    assert "vllm exited with code -9; starts again in 1 s; its log is /home/logs/vllm.log" in told
    assert "is ready" not in told


def test_the_table_shows_every_process_with_its_address_and_log(state: StackState) -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(table(state))
    for word in ("vllm", "redis", "127.0.0.1:8006", "vllm.log", "logs in /home/logs", "waiting"):
        assert word in text(console)
