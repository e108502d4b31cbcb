import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from bench import memory

CODE = """
import sys
held = b"x" * 200_000_000
del held
print("done", flush=True)
sys.stdin.readline()
held = b"x" * 100_000_000
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def child() -> Iterator["subprocess.Popen[str]"]:
    argv = [sys.executable, "-c", CODE, "a-word-of-its-own"]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_process_is_found_with_those_it_started() -> None:
    argv = ["bash", "-c", "sleep 60 & echo; wait", "a-word-of-its-own"]
    with subprocess.Popen(argv, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = memory.named("a-word-of-its-own")
        assert [each.name() for each in found] == ["bash", "sleep"]
        for each in found:
            each.kill()


def test_the_most_is_kept_until_it_is_forgotten(child: "subprocess.Popen[str]") -> None:
    [found] = memory.named("a-word-of-its-own")
    assert found.pid == child.pid
    assert memory.peak([found]) > 200
    memory.forget([found])
    assert memory.peak([found]) < 100
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    child.stdout.readline()
    assert 100 < memory.peak([found, psutil.Process(child.pid)]) / 2 < 200
