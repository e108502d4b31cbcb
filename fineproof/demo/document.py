"""A handbook document: sections, each with the questions that it answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fineproof.demo.english import clock, clock_aliases, listing, quantity, quantity_aliases

AnswerType = Literal["short", "number", "list", "sentence"]


@dataclass(frozen=True)
class Ask:
    """One question that the section it belongs to answers."""

    question: str
    answer: str
    answer_type: AnswerType
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """About fifty words that stand alone; the title says whose they are."""

    title: str
    text: str
    asks: tuple[Ask, ...]


@dataclass(frozen=True)
class Document:
    """Everything the handbook says about one thing, and the cluster its questions belong to."""

    id: str
    kind: str
    sections: tuple[Section, ...]


def document(kind: str, name: str, *sections: Section) -> Document:
    """A document whose id is readable: `product-ostrel-210e`."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return Document(id=f"{kind}-{slug}", kind=kind, sections=sections)


def number(question: str, count: int, unit: str, *other_units: str) -> Ask:
    """Asks for a quantity with its unit."""
    aliases = quantity_aliases(count, unit, *other_units)
    return Ask(question, quantity(count, unit), "number", aliases)


def time(question: str, minutes: int) -> Ask:
    """Asks for a time of day, given in minutes after midnight."""
    return Ask(question, clock(minutes), "short", clock_aliases(minutes))


def person(question: str, name: str) -> Ask:
    """Asks for somebody, who may be named by surname alone."""
    return Ask(question, name, "short", (name.split()[-1],))


def short(question: str, answer: str, *aliases: str) -> Ask:
    """Asks for a name, a code or a few words."""
    return Ask(question, answer, "short", aliases)


def things(question: str, answer: Sequence[str]) -> Ask:
    """Asks for a list."""
    return Ask(question, listing(answer), "list", (", ".join(answer),))


def why(question: str, *sentences: str) -> Ask:
    """Asks for an explanation of one or more sentences."""
    return Ask(question, " ".join(sentences), "sentence")
