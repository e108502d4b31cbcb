"""Figures and findings in words, the same in every form of a study."""

from collections.abc import Iterable, Sequence

from services.common.contracts.evaluator import Verdict

_ORDER: tuple[Verdict, ...] = ("HURTS", "HELPS", "EQUIVALENT", "INCONCLUSIVE")


def verdicts(found: Sequence[Verdict]) -> str:
    """``of 12 comparisons: 9 HURTS, 3 INCONCLUSIVE``."""
    counted = [f"{count} {word}" for word in _ORDER if (count := found.count(word))]
    return f"of {plural(len(found), 'comparison')}: {', '.join(counted)}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
