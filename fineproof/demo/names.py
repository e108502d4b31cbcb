"""The invented names, and the deck that hands out every name and number once."""

import random
from collections.abc import Iterable
from typing import Generic, TypeVar

Card = TypeVar("Card")

COMPANY = "Merrowdale Works"

GIVEN = (
    "Alva", "Bastian", "Corrie", "Dagny", "Edric", "Fenna", "Gideon", "Hanne", "Idris", "Jorun",
    "Kester", "Linnea", "Maren", "Nils", "Oriel", "Petra", "Quentin", "Ragna", "Silas", "Tove",
    "Ursel", "Viggo", "Wilma", "Yorick", "Zelda", "Anselm", "Brona", "Casimir", "Delphine", "Eskil",
)  # fmt: skip

SURNAME_STARTS = ("Arl", "Bress", "Culv", "Dram", "Ells", "Farr", "Gost", "Hask", "Ingr", "Jass",
                  "Kell", "Lunn", "Mord", "Norr", "Ost", "Pell", "Quar", "Rusk", "Stav", "Thorl",
                  "Und", "Varr", "Wend", "Yarl")  # fmt: skip
SURNAME_ENDS = ("ander", "beck", "ick", "ing", "oway", "strom", "ett", "wick")

PRODUCT_STEMS = (
    "Brindle", "Cobbin", "Dunlark", "Ferrow", "Gannick", "Hespar", "Kittern", "Lorrel", "Mossel",
    "Nettik", "Ostrel", "Pindar", "Quillon", "Rosk", "Sallow", "Tamber", "Velquin",
)  # fmt: skip

PLACES = ("Ardle", "Brackwell", "Corrin", "Dunmere", "Eskby", "Fallow", "Garrick", "Hollin",
          "Inver", "Karsten", "Lathe", "Merrin")  # fmt: skip
PLACE_ENDS = ("Quay", "Mill", "Hill", "Lock", "Cross", "Yard", "Ferry", "Green")


class Deck(Generic[Card]):
    """Cards in shuffled order, each dealt once.

    Because no two products draw the same warranty and no two sites the same gate hour, what a
    model learns about one document is never right about another.
    """

    def __init__(self, rng: random.Random, cards: Iterable[Card]) -> None:
        self._cards = list(cards)
        rng.shuffle(self._cards)

    def deal(self) -> Card:
        """The next card; IndexError when the deck is used up."""
        return self._cards.pop()

    def hand(self, size: int) -> list[Card]:
        """The next `size` cards."""
        return [self.deal() for _ in range(size)]


def people(rng: random.Random) -> Deck[str]:
    """Full names; no surname occurs twice, so a surname alone is a fair answer."""
    surnames = [start + end for start in SURNAME_STARTS for end in SURNAME_ENDS]
    return Deck(rng, (f"{rng.choice(GIVEN)} {surname}" for surname in surnames))
