"""What a report says of a judge's preferences."""

from collections.abc import Sequence

import pytest

from services.common.contracts.judge import Preference, Preferred
from services.evaluator.judges.reporting import preference_of

WON, LOST = Preferred(better="arm"), Preferred(better="baseline")


def told(
    by_item: Sequence[tuple[str, Preferred]], clusters: dict[str, str] | None = None
) -> Preference:
    own = {item: item for item, _ in by_item}
    return preference_of(by_item, clusters or own, "a", "b", "retrieved")


def test_what_is_said_again_of_a_question_is_no_more_evidence() -> None:
    once = [(f"i{n}", WON if n < 14 else LOST) for n in range(20)]
    assert told(once).p == pytest.approx(0.115, abs=0.01)
    again = told(once * 5)
    assert (again.wins, again.losses, again.p) == (70, 30, told(once).p)


def test_questions_of_one_document_are_one_piece_of_evidence() -> None:
    won = [(f"i{n}", WON) for n in range(12)]
    assert told(won).p == 2 / 2**12
    assert told(won, {f"i{n}": f"d{n // 4}" for n in range(12)}).p == 2 / 2**3


def test_a_tie_and_what_is_unscored_prove_nothing() -> None:
    nothing = [("i", Preferred()), ("j", Preferred(error="late: too late"))]
    assert (told(nothing).p, told(nothing).ties, told(nothing).unscored) == (1.0, 1, 1)
    assert told(nothing[1:]).p == 1.0
