import json
from pathlib import Path

import pytest

from bench import harness
from bench.harness import Figure


@pytest.mark.parametrize(
    ("value", "goal", "met"),
    [
        (97, ">=0.97", True),
        (96, ">=0.97", False),
        (3, "<=0.03", True),
        (4, "<=0.03", False),
        (5, None, None),
    ],
)
def test_a_goal_is_held_against_the_ratio(value: float, goal: str | None, met: bool | None) -> None:
    assert Figure("x", "s", value, 100, goal).met is met


def test_a_result_says_on_what_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    figures = [Figure("speed", "tokens/s", 2, 1, ">=1.5")]
    path = harness.conclude("x", figures, packages=["numpy", "no-such-thing"], details={"n": 1})
    content = json.loads(path.read_text())
    assert content["machine"]["cores"] >= 1
    assert content["machine"]["memory_bytes"] > 2**28
    assert content["machine"]["versions"]["no-such-thing"] is None
    assert content["figures"][0] == {
        "name": "speed",
        "unit": "tokens/s",
        "value": 2,
        "reference": 1,
        "goal": ">=1.5",
        "ratio": 2.0,
        "met": True,
    }
