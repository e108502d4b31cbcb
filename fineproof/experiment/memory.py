"""What a run has made, so that the next one goes on where it stopped."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from services.common.errors import NotFound


class Memory:
    """What a run has made so far, by step: ``state.json`` in its folder, rewritten after each.

    A step is remembered under the hash of what it was made from; a changed specification or data
    set therefore makes anew what depends on it and keeps the rest.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.json"
        self._steps: dict[str, str] = {}
        if self._path.exists():
            self._steps = json.loads(self._path.read_text())

    async def once(
        self,
        step: str,
        inputs: str,
        make: Callable[[], Awaitable[str]],
        still_there: Callable[[str], Awaitable[object]],
    ) -> str:
        """The id that ``step`` made; made now if it never was, or the stack has forgotten it."""
        key = _key(step, inputs)
        if (known := self._steps.get(key)) is not None:
            try:
                await still_there(known)
            except NotFound:
                pass
            else:
                return known
        made = await make()
        self.remember(step, inputs, made)
        return made

    def known(self, step: str, inputs: str) -> str | None:
        """What ``step`` has made, whether or not it is still there."""
        return self._steps.get(_key(step, inputs))

    def remember(self, step: str, inputs: str, made: str) -> None:
        self._steps[_key(step, inputs)] = made
        self._save()

    def forget(self, step: str, inputs: str) -> None:
        """Make ``step`` anew next time: what it made has failed."""
        self._steps.pop(_key(step, inputs), None)
        self._save()

    def _save(self) -> None:
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._steps, indent=2))
        partial.replace(self._path)


def _key(step: str, inputs: str) -> str:
    return f"{step}:{hashlib.sha256(inputs.encode()).hexdigest()[:16]}"
