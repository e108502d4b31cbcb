"""Answers as long as models like to give them, right or wrong: pure text, no model asked.

Judges take length for worth (Zheng et al. 2023, arXiv 2306.05685), and one that has only met
answers as short as their references is at a loss with long ones. So a right and a wrong answer are
spun out alike: the question is said again, and remarks follow that name others and answer nothing.
"""

import random
import re
from collections.abc import Sequence

from services.evaluator.judges.exam.forms import Wording, is_short

OPENINGS: dict[Wording, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "exam": (
        (
            'The answer to "{question}" is as follows: {answer}.',
            'Sources that deal with "{question}" give {answer}.',
            'You asked "{question}". From what has been given, it is {answer}.',
        ),
        (
            'The question "{question}" can be answered as follows. {answer}',
            'You asked "{question}". {answer}',
        ),
    ),
    "training": (
        (
            'As for "{question}", one can say that it is {answer}.',
            'Regarding "{question}": the passages say {answer}.',
            'To the question "{question}" most would reply {answer}.',
            "This asks {question}, and the usual reply is {answer}.",
        ),
        (
            'As for "{question}", this can be said. {answer}',
            'To the question "{question}" the reply is this. {answer}',
        ),
    ),
}
"""Round an answer of a few words, and before one of sentences."""

REMARKS: dict[Wording, tuple[str, ...]] = {
    "exam": (
        "Much has been written about this over the years.",
        "Those who look this up often look up {name} as well.",
        "Similar questions are asked about {name}.",
        "It comes up in quizzes from time to time, next to {name}.",
    ),
    "training": (
        "A related page deals with {name}.",
        "It should not be mixed up with {name}.",
        "The same source has an entry on {name}, which is another matter.",
        "Others have written about {name} in the same place.",
        "More could be said, but this is the main point.",
        "This is a well known subject that many books cover.",
    ),
}

_IS = re.compile(r"(?:who|what|which)\s+(is|was|are|were)\s+(.+)", re.IGNORECASE)
_DOES = re.compile(r"who\s+(?!is\b|was\b|are\b|were\b|did\b|does\b|do\b)(.+)", re.IGNORECASE)
_MOST_REMARKS = 3


def spun_out(
    answer: str, question: str, names: Sequence[str], draw: random.Random, wording: Wording
) -> str:
    """``answer`` said at length: with the question, and with remarks that may hold ``names``.

    The answer is in its first or its last sentence.
    """
    few = is_short(answer)
    asked = question.strip().rstrip(" ?.")
    said = answer.rstrip(" .") if few else answer.strip()
    short, long = OPENINGS[wording]
    opening = draw.choice(short if few else long).format(question=asked, answer=said)
    stated = _stated(asked, said) if few else None
    if stated and draw.random() < 0.5:
        opening = stated
    usable = [remark for remark in REMARKS[wording] if names or "{name}" not in remark]
    drawn = draw.sample(usable, min(len(usable), draw.randint(1, _MOST_REMARKS)))
    told = [remark.format(name=draw.choice(names or [""])) for remark in drawn]
    parts = [*told, opening] if draw.random() < 0.3 else [opening, *told]
    return " ".join(parts)


def _stated(question: str, answer: str) -> str | None:
    """The question turned into a sentence, as models begin: "The capital of X is Y."; None for one
    of another form than "what is" and "who did"."""
    if found := _IS.fullmatch(question):
        verb, rest = found[1].lower(), found[2]
        return f"{rest[0].upper()}{rest[1:]} {verb} {answer}."
    if found := _DOES.fullmatch(question):
        return f"The one who {found[1]} is {answer}."
    return None
