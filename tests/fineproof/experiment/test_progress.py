import io

import pytest
from rich.console import Console

from fineproof.experiment import progress
from fineproof.experiment.progress import Board


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_resumed_step_counts_its_pace_from_where_it_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, printed = Clock(), io.StringIO()
    monkeypatch.setattr(progress, "time", clock)
    with Board(Console(file=printed, width=100)).bar("Evaluating", 100) as bar:
        bar.at(50)
        clock.now = 20.0
        bar.at(60)  # 10 in 20 seconds: the other 40 take 80
    assert "Evaluating: 60 of 100, about 80 s left" in printed.getvalue()
    assert "✓ Evaluating" in printed.getvalue()
