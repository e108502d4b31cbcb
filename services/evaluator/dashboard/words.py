"""How figures, times and the product's terms are put before a person."""

import math
import time
from datetime import UTC, datetime
from typing import Final

MINUS: Final = "−"

METRICS: Final = {
    "exact_match": "Exact match",
    "contains_answer": "Contains the answer",
    "token_f1": "Token F1",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
    "answer_recall": "Answer recall",
    "answer_length": "Answer length",
    "semantic_similarity": "Semantic similarity",
    "citation_precision": "Citation precision",
    "citation_recall": "Citation recall",
}

CONDITIONS: Final = {
    "closed_book": "Closed book",
    "retrieved": "Retrieved passages",
    "oracle": "Gold passages",
    "distractors": "Distractors",
}

CONDITION_MEANINGS: Final = {
    "closed_book": "The question alone, without passages.",
    "retrieved": "The question with the passages the retriever found.",
    "oracle": "The question with the passages known to hold the answer.",
    "distractors": "The question with passages that do not hold the answer.",
}

VERDICTS: Final = {
    "HELPS": "Helps",
    "HURTS": "Hurts",
    "EQUIVALENT": "Equivalent",
    "INCONCLUSIVE": "Inconclusive",
}

VERDICT_MEANINGS: Final = {
    "HELPS": "The corrected 95 % interval of the difference lies above zero.",
    "HURTS": "The corrected 95 % interval of the difference lies below zero.",
    "EQUIVALENT": "The difference is within the margin that counts as none.",
    "INCONCLUSIVE": "The items asked cannot tell: more would be needed.",
}

STATES: Final = {
    "validating_files": "Validating files",
    "in_progress": "In progress",
    "canceled": "Cancelled",
    "warn": "Warning",
}

PHASES: Final = {
    "queued": "Waiting for a worker",
    "tuning": "Training the adapters of the arms",
    "proving": "Proving that the adapters are served",
    "retrieving": "Retrieving passages",
    "answering": "Asking every arm every question",
    "forgetting": "Asking what was known before",
    "examining": "Examining the judge",
    "judging": "Having the answers judged",
    "measuring": "Scoring answers and computing intervals",
    "done": "Done",
}


def term(name: str) -> str:
    """A metric, condition, verdict, status or phase in words; without underscores if unknown."""
    for known in (METRICS, CONDITIONS, VERDICTS, STATES, PHASES):
        if name in known:
            return known[name]
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def meaning(name: str) -> str:
    return CONDITION_MEANINGS.get(name) or VERDICT_MEANINGS.get(name, "")


def figure(value: float | None, places: int = 2) -> str:
    """A fixed-point figure with a typographic minus; a dash for what was not measured."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:,.{places}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float | None, places: int = 2) -> str:
    text = figure(value, places)
    return f"+{text}" if text[0].isdigit() and text.strip("0.,") else text


def interval(bounds: tuple[float, float]) -> str:
    return f"{signed(bounds[0])} to {signed(bounds[1])}"


def p_value(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def significant(value: float) -> str:
    """Two significant digits, for figures that span magnitudes: 0.0031, 2.4e-07."""
    return f"{value:.2g}".replace("-", MINUS)


def count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(seconds: float | None) -> str:
    """``45 s``, ``3 min``, ``1 h 20 min``: as exact as a person waiting needs."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 60:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {rest} min" if rest else f"{hours} h"


def moment(timestamp: int) -> str:
    """Unix seconds as a date and time in UTC."""
    return _utc(timestamp).strftime("%-d %b %Y, %H:%M UTC")


def iso(timestamp: int) -> str:
    return _utc(timestamp).isoformat()


def ago(timestamp: int, *, at: float | None = None) -> str:
    """How long ago, coarsely; a date when it is more than a week."""
    seconds = (time.time() if at is None else at) - timestamp
    if seconds < 45:
        return "just now"
    if seconds < 3_600:
        return f"{max(1, int(seconds // 60))} min ago"
    if seconds < 86_400:
        return f"{int(seconds // 3_600)} h ago"
    if seconds < 7 * 86_400:
        return f"{count(int(seconds // 86_400), 'day')} ago"
    return _utc(timestamp).strftime("%-d %b %Y")


def file_size(size: int) -> str:
    """Bytes in decimal units, as file systems and hubs state them."""
    scaled = float(size)
    for unit in ("bytes", "kB", "MB"):
        if scaled < 1000:
            return f"{scaled:.0f} {unit}" if unit == "bytes" else f"{scaled:.1f} {unit}"
        scaled /= 1000
    return f"{scaled:.1f} GB"


def _utc(timestamp: int) -> datetime:
    try:
        return datetime.fromtimestamp(timestamp, UTC)
    except (OverflowError, OSError, ValueError):  # a peer's nonsense must not take the page down
        return datetime.fromtimestamp(0, UTC)
