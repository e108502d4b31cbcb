"""One request on its caller's account, and what it turns out to cost."""

import json
import re

from services.common.ids import new_id
from services.generator.admission.ledger import Entry, Ledger
from services.generator.settings import CallerLimits

# Estimates of what nobody has counted.
BYTES_PER_TOKEN = 4
ANSWER_TOKENS = 256

# Quotes inside a JSON string are escaped: these are names of fields, never what somebody wrote.
_ROOM = re.compile(rb'"max_(?:completion_|output_)?tokens"\s*:\s*(\d{1,9})')
_CHOICES = re.compile(rb'"n"\s*:\s*(\d{1,4})')
_USAGE = re.compile(rb'"usage"\s*:\s*(?=\{)')
_DECODER = json.JSONDecoder()


class Ticket:
    """Charged an estimate on the way in; ``see`` corrects it by what comes back.

    No answer is asked to count itself, and none is parsed for it but for its ``usage``: a stream
    without one costs its prompt as estimated and a token an event, as vLLM sends them. The estimate
    is never more than a minute's tokens, so that nothing is impossible; what it lacks is owed.
    """

    def __init__(self, caller: str, limits: CallerLimits, body: bytes) -> None:
        self.id = new_id("ticket")
        self.caller = caller
        self.limits = limits
        self.failed = False
        self._events = 0
        self._usage: float | None = None
        self._prompt = len(body) / BYTES_PER_TOKEN
        self._charged = 0.0
        if limits.tokens_per_minute is not None:
            expected = self._prompt + _asked_for(body)
            self._charged = min(expected, limits.tokens_per_minute)

    def see(self, block: bytes) -> None:
        """Note what an answer, or a whole event of it, says of its cost."""
        if self.limits.tokens_per_minute is None:
            return
        self._events += block.count(b"data:")
        at = block.rfind(b'"usage"')
        if at < 0 or not (found := _USAGE.match(block, at)):
            return
        try:
            usage, _ = _DECODER.raw_decode(block[found.end() :].decode())
            self._usage = float(usage["total_tokens"])
        except (ValueError, KeyError, TypeError):
            return

    async def enter(self, ledger: Ledger) -> Entry:
        return await ledger.enter(self.caller, self.limits, self.id, self._charged)

    async def settle(self, ledger: Ledger) -> None:
        await ledger.settle(self.caller, self.limits, self.id, self._cost() - self._charged)

    def _cost(self) -> float:
        if self._usage is not None:
            return self._usage
        if self.failed:
            return 0.0
        return self._prompt + self._events if self._events else self._charged


def _asked_for(body: bytes) -> int:
    """Tokens that the answer may have, all its choices together."""
    room = max((int(found) for found in _ROOM.findall(body)), default=ANSWER_TOKENS)
    choices = max((int(found) for found in _CHOICES.findall(body)), default=1)
    return room * max(1, choices)
