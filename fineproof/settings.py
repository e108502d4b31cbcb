"""What the command line is told by its environment: where the stack lives and what it serves."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fineproof.errors import UserError

DEFAULT_MODEL = "smollm2-135m-instruct"

# How far each listener lies from FINEPROOF_PORT. PostgreSQL listens on a Unix socket.
OFFSETS: Mapping[str, int] = {
    "front-door": 0,
    "retriever": 1,
    "generator": 2,
    "trainer": 3,
    "evaluator": 4,
    "vllm": 5,
    "redis": 6,
}


class SettingsError(UserError):
    """A sentence that says which variable to change, and to what."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The stack's address on this machine. A dataclass, so that `fineproof --help` is quick."""

    home: Path
    """Everything the stack keeps; absolute."""
    port: int
    """The front door's TCP port on the loopback; the other listeners follow it."""
    model: str
    """A packaged model's name, a folder, or a Hugging Face id."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read ``FINEPROOF_HOME``, ``FINEPROOF_PORT`` and ``FINEPROOF_MODEL``."""
        port = environment.get("FINEPROOF_PORT", "8000")
        highest = 65535 - max(OFFSETS.values())
        if not port.isascii() or not port.isdigit() or not 1024 <= int(port) <= highest:
            raise SettingsError(
                f"FINEPROOF_PORT is {port!r}; give a port from 1024 to {highest}: "
                f"the stack uses it and the {max(OFFSETS.values())} after it."
            )
        return cls(
            home=Path(environment.get("FINEPROOF_HOME") or ".fineproof").expanduser().resolve(),
            port=int(port),
            model=environment.get("FINEPROOF_MODEL") or DEFAULT_MODEL,
        )

    def port_of(self, name: str) -> int:
        return self.port + OFFSETS[name]

    def url_of(self, name: str) -> str:
        """Base URL of a listener that speaks HTTP, without a slash at the end."""
        return f"http://127.0.0.1:{self.port_of(name)}"

    @property
    def url(self) -> str:
        """Where a person or an ``openai`` client (plus ``/v1``) comes in."""
        return self.url_of("front-door")
