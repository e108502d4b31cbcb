"""When two texts say the same, when one may pass for the other: words compared, no model asked."""

import re
from collections import Counter
from functools import lru_cache

from services.evaluator.metrics.text import as_typed, words

COUNTS = (
    *("one", "two", "three", "four", "five", "six"),
    *("seven", "eight", "nine", "ten", "eleven", "twelve"),
)
OPPOSITE = {"yes": "No", "no": "Yes", "true": "False", "false": "True"}

_TEENS = ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_FIGURES = {
    "zero": "0",
    **{word: str(number) for number, word in enumerate((*COUNTS, *_TEENS), 1)},
    **{word: str(10 * number) for number, word in enumerate(_TENS, 2)},
    **{word: f"{number}{_ENDINGS.get(number, 'th')}" for number, word in enumerate(_ORDINALS, 1)},
}
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
# What can be put or left out and changes nothing. Not "to", "under", "not": they do.
_SPARE = (
    *("it", "its", "they", "this", "that", "these", "those", "there"),
    *("is", "are", "of", "in", "on", "at", "and"),
)
# SQuAD's normalisation drops these marks, and a number means another thing without them.
_MARKS = (
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))"), ""),
    (re.compile(r"(?<=\d)[.,](?=\d)|(?<![\w.])\.(?=\d)"), "point"),
    (re.compile(r"(?<![\w)])-\s?(?=\d)"), " minus "),
    (re.compile(r"[<≤]"), " below "),
    (re.compile(r"[>≥]"), " above "),
)


@lru_cache(maxsize=4096)
def bare(text: str) -> str:
    """The words that texts are compared by: without typography, and with numbers in figures."""
    text = as_typed(text)
    for mark, said in _MARKS:
        text = mark.sub(said, text)
    return " ".join(_FIGURES.get(word, word) for word in words(text))


def holds(text: str, part: str) -> bool:
    """Whether the words of ``part`` stand in ``text`` side by side; both are bare."""
    return bool(part) and f" {part} " in f" {text} "


def alike(text: str, right: str) -> bool:
    """Whether one may pass for the other: one holds the other, or half the words agree.

    Both are bare. Answers that begin with the same yes or no are alike.
    """
    mine, theirs = text.split(), right.split()
    if not mine or not theirs or (mine[0] in OPPOSITE and mine[0] == theirs[0]):
        return True
    common = sum((Counter(mine) & Counter(theirs)).values())
    return holds(text, right) or holds(right, text) or 4 * common >= len(mine) + len(theirs)


def says_the_same(text: str, right: str) -> bool:
    """Whether both have the same words in the same order, but for words that say nothing.

    Both are bare. Nothing is left out and nothing added: no name, number or negation. A date may
    have its parts in another order.
    """
    mine, theirs = _told(text), _told(right)
    return bool(mine) and mine == theirs


def _told(text: str) -> list[str]:
    told = [word for word in text.split() if word not in _SPARE]
    parts = [word for word in told if word not in _MONTHS]
    is_date = len(told) > len(parts) and all(part.isdigit() for part in parts)
    return sorted(told) if is_date else told
