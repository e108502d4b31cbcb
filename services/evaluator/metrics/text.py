"""Normalisation and tokens, so that scores compare words and not typography."""

import unicodedata
from functools import lru_cache

from services.common.text import squad_normalise

_JOINS = frozenset("-/")
_TYPED = str.maketrans("‘’‛ʼ′“”„‟″‐‑‒–—―−", "'" * 5 + '"' * 5 + "-" * 7)

# English function words: they are in every passage and ground nothing.
_FUNCTION_WORDS = """
i me my we our you your he him his she her it its they them their this that these those
who whom which what when where why how is am are was were be been being have has had do does did
will would shall should can could may might must and or but if then than so as of at by for with
about into to from in on up out off over under again also not no nor only very there here all any
both each more most some such own same s t
"""


def as_typed(text: str) -> str:
    """``text`` with the apostrophes, quotes and dashes of a keyboard for a typesetter's."""
    return text.translate(_TYPED)


@lru_cache(maxsize=4096)
def squad_tokens(text: str) -> tuple[str, ...]:
    """Tokens as SQuAD's script has them, of the text as typed."""
    return tuple(squad_normalise(as_typed(text)).split())


def _separates(character: str) -> bool:
    return character in _JOINS or (
        not character.isascii() and unicodedata.category(character)[0] in "PS"
    )


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """SQuAD's tokens, with what hyphens, slashes and typographic marks join taken apart.

    SQuAD's script would make one word of "Oslo/Bergen" and of "Oslo—capital".
    """
    folded = as_typed(unicodedata.normalize("NFKC", text))
    apart = "".join(" " if _separates(character) else character for character in folded)
    return squad_tokens(apart)


@lru_cache(maxsize=1)
def _function_words() -> frozenset[str]:
    return frozenset(_FUNCTION_WORDS.split())


def content_words(text: str) -> tuple[str, ...]:
    """Words that carry meaning: no function words."""
    return tuple(word for word in words(text) if word not in _function_words())


def holds(haystack: tuple[str, ...], needle: tuple[str, ...]) -> bool:
    """Whether the tokens of ``needle`` stand in ``haystack`` side by side; never for no tokens."""
    width = len(needle)
    return width > 0 and any(
        haystack[at : at + width] == needle for at in range(len(haystack) - width + 1)
    )
