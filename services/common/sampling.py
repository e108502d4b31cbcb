"""Samples of a file's lines that are the same for everybody, and lie within one another."""

import hashlib
import heapq


class Drawing:
    """Draws ``count`` of the lines offered, holding no more than those.

    A line's rank is the SHA-256 of ``seed`` and the line: the sample depends on what the file
    holds and not on its order, and the first 200 drawn of 500 are the 200 drawn of the same file.
    """

    def __init__(self, count: int, *, seed: int) -> None:
        self.seen = 0
        self._count = count
        self._salt = hashlib.sha256(f"{seed}\n".encode())
        # The worst on top: ranks are negated, as heapq keeps the least there.
        self._drawn: list[tuple[int, int, str]] = []

    def offer(self, line: str) -> None:
        """Blank lines are passed over."""
        if not line.strip():
            return
        digest = self._salt.copy()
        digest.update(line.encode())
        ranked = (-int.from_bytes(digest.digest()), -self.seen, line)
        self.seen += 1
        if len(self._drawn) < self._count:
            heapq.heappush(self._drawn, ranked)
        elif self._drawn:
            heapq.heappushpop(self._drawn, ranked)

    @property
    def lines(self) -> list[str]:
        """Those drawn, by rank."""
        return [line for _, _, line in sorted(self._drawn, reverse=True)]
