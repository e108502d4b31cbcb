"""The whole stack, brought up once a run, as a person would bring it up."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import psutil
import pytest

from fineproof.demo import generate, write
from tests.conftest import free_port

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningStack:
    home: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "FINEPROOF_HOME": str(self.home),
            "FINEPROOF_PORT": str(self.port),
        }

    def fineproof(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fineproof.cli", *arguments],
            env=self.environment,
            cwd=ROOT,
            text=True,
            capture_output=True,
            timeout=timeout,
            check=False,
        )

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this stack, found by what it was started with."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                return False
            mine = str(self.home)
            told = process.environ()
            return (
                mine in told.get("FINEPROOF_STACK", "")
                or mine == told.get("FINEPROOF_HOME")
                or any(mine in argument for argument in process.cmdline())
            )
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, base_model: Path) -> Iterator[RunningStack]:
    home = tmp_path_factory.mktemp("home")
    (home / "models").mkdir()
    (home / "models" / base_model.name).symlink_to(base_model)
    running = RunningStack(home, free_port(following=6))
    up = running.fineproof("up", "--detach")
    assert up.returncode == 0, up.stdout + up.stderr
    yield running
    down = running.fineproof("down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert running.processes() == []


@pytest.fixture(scope="session")
def client(stack: RunningStack) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{stack.url}/v1", api_key="none", max_retries=0, timeout=300)


@pytest.fixture(scope="session")
def handbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("handbook")
    write(folder, generate())
    return folder
