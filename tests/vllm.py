"""A real vLLM on a CPU, for tests to ask, kill and start again."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from fineproof.local import vllm
from fineproof.local.child import tied
from fineproof.models.catalog import Model


@dataclass
class VllmServer:
    """A vLLM process that can be killed and started again at the same address."""

    model: Model
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                tied(vllm.command(self.model, self.port), death_signal=signal.SIGTERM),
                env=os.environ | vllm.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while True:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            try:
                if httpx.get(f"{self.url}/health", timeout=2).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.5)

    def kill(self) -> None:
        """With everything it started: the engine is a process of its own."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
