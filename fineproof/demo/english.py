"""The little grammar that templates need: articles, lists, numbers in words, dates, times."""

import random
import re
from collections.abc import Sequence

_ONES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
         "nineteen")  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
          "October", "November", "December")  # fmt: skip
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")


def either(rng: random.Random, *wordings: str) -> str:
    """One way of saying it."""
    return rng.choice(wordings)


def with_article(noun: str) -> str:
    """`oven` -> `an oven`. Goes by the first letter, so it is for nouns that sound as spelt."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def capital(phrase: str) -> str:
    """The phrase with a capital first letter and the rest untouched, unlike `str.capitalize`."""
    return phrase[0].upper() + phrase[1:]


def listing(things: Sequence[str]) -> str:
    """`a, b and c`"""
    return f"{', '.join(things[:-1])} and {things[-1]}"


def spelt(number: int) -> str:
    """0 to 99 in words; larger numbers stay in digits, as in any style guide."""
    if number < len(_ONES):
        return _ONES[number]
    if number > 99:
        return f"{number:,}"
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f"-{_ONES[ones]}" if ones else "")


def quantity(number: int, unit: str) -> str:
    """`1,250 litres per hour`"""
    return f"{number:,} {unit}"


def quantity_aliases(number: int, unit: str, *other_units: str) -> tuple[str, ...]:
    """What a reader may write: in words, without the comma, with the bare unit or with none."""
    bare = re.split(r" (?:per|of|at|in) ", unit)[0]
    ways = [f"{spelt(number)} {unit}", f"{number} {unit}", f"{number:,}", f"{number}"]
    ways += [f"{number:,} {other}" for other in (bare, *other_units)]
    return tuple(dict.fromkeys(way for way in ways if way != quantity(number, unit)))


def clock(minutes: int) -> str:
    """Minutes after midnight as `06:40`."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def clock_aliases(minutes: int) -> tuple[str, ...]:
    """`6:40` and `6:40 am` for 06:40; `2:05 pm` for 14:05."""
    hour, minute = divmod(minutes, 60)
    half = "am" if hour < 12 else "pm"
    twelve = f"{(hour - 1) % 12 + 1}:{minute:02d}"
    ways = (f"{hour}:{minute:02d}", f"{twelve} {half}")
    return tuple(way for way in ways if way != clock(minutes))
