"""A document's text to chunks: by tokens, cut at the ends of sentences, overlapping.

Everything here is counted in tokens of the embedding model, by whatever measures words for us.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from services.common.text import sentence_spans


class Word(NamedTuple):
    """Where a word of a text begins, and how many tokens it is; it may be a single sign."""

    start: int
    tokens: int


Measure = Callable[[Sequence[str]], Sequence[Sequence[Word]]]
"""The words of each text, in order."""


class Span(NamedTuple):
    """A chunk is ``text[start:end]``."""

    start: int
    end: int


class Cut(NamedTuple):
    """How large chunks are at most, and how much of the one before they have at most."""

    size: int
    overlap: int


class _Piece(NamedTuple):
    """What is never cut: pieces lie side by side and cover the text."""

    start: int
    end: int
    tokens: int
    opens: bool
    """Whether a sentence begins with it."""


# Sentences measured at once, and the characters after which what looks like one is cut: memory does
# not grow with the text.
_AT_ONCE = 256
_LONG = 10_000

# Characters that count as a token at the least: blanks are none to a tokenizer, and a word that a
# model does not know is one, however long.
_PER_TOKEN = 40


def chunks(text: str, measure: Measure, *, size: int, overlap: int) -> Iterator[Span]:
    """Spans of at most ``size`` tokens that together cover the text, each with up to ``overlap``
    tokens of the one before; ``overlap`` is at most half of ``size``.

    A chunk ends with a sentence where that leaves it at least half full, else with a word; the
    overlap begins with a sentence where one begins in it, else with a word.
    """
    held: list[_Piece] = []
    used = 0
    again = 0  # of what is held, how many pieces an earlier chunk has too
    for piece in _pieces(text, measure, size=size):
        while used + piece.tokens > size:
            if len(held) == again:  # nothing but overlap, and no room for anything new beside it
                begin, again = 1, again - 1
            else:
                end = _end(held, again, piece, used=used, size=size)
                yield Span(held[0].start, held[end - 1].end)
                begin = _beginning(held, end, overlap=overlap)
                again = end - begin
            used -= sum(gone.tokens for gone in held[:begin])
            held = held[begin:]
        held.append(piece)
        used += piece.tokens
    if held:
        yield Span(held[0].start, held[-1].end)


def _end(held: Sequence[_Piece], again: int, following: _Piece, *, used: int, size: int) -> int:
    """How many of the pieces the chunk takes."""
    next_opens = following.opens
    for end in range(len(held), again, -1):
        if 2 * used < size:
            break
        if next_opens:
            return end
        next_opens = held[end - 1].opens
        used -= held[end - 1].tokens
    return len(held)


def _beginning(held: Sequence[_Piece], end: int, *, overlap: int) -> int:
    """The piece with which the next chunk begins: never the first, so that chunks move on."""
    begin, left = end, overlap
    while begin > 1 and held[begin - 1].tokens <= left:
        begin -= 1
        left -= held[begin].tokens
    return next((place for place in range(begin, end) if held[place].opens), begin)


def _pieces(text: str, measure: Measure, *, size: int) -> Iterator[_Piece]:
    sentences = _sentences(text)
    while some := list(islice(sentences, _AT_ONCE)):
        measured = measure([text[start:end] for start, end in some])
        for (start, end), words in zip(some, measured, strict=True):
            opens = True
            for piece in _of_sentence(text, start, end, words, measure, size=size):
                yield piece._replace(opens=opens)
                opens = False


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    starts = [start for start, _ in sentence_spans(text)] or [0]
    starts[0] = 0
    for start, end in pairwise([*starts, len(text)]):
        while end - start > _LONG:
            cut = text.rfind(" ", start, start + _LONG) + 1 or start + _LONG
            yield start, cut
            start = cut
        if start < end:
            yield start, end


def _of_sentence(
    text: str, start: int, end: int, words: Sequence[Word], measure: Measure, *, size: int
) -> Iterator[_Piece]:
    """What stands between blanks: "it's" is one piece, though a tokenizer sees three words."""
    absolute = [Word(start + word.start, word.tokens) for word in words]
    for begin, stop, inside in _between_blanks(text, start, end, absolute):
        whole = _piece(begin, stop, inside)
        for part in [whole] if whole.tokens <= size else _apart(whole, inside, size=size):
            yield from _fitting(text, part, measure, size=size)


def _between_blanks(
    text: str, start: int, end: int, words: Iterable[Word]
) -> Iterator[tuple[int, int, list[Word]]]:
    begin, inside = start, list[Word]()
    for word in words:
        if inside and (text[word.start - 1].isspace() or text[word.start].isspace()):
            yield begin, word.start, inside
            begin, inside = word.start, []
        inside.append(word)
    yield begin, end, inside


def _apart(piece: _Piece, words: Iterable[Word], *, size: int) -> Iterator[_Piece]:
    """A piece too long for a chunk, such as a line of Chinese, in words that fill half of one."""
    begin, taken, tokens = piece.start, list[Word](), 0
    for word in words:
        if taken and 2 * (tokens + word.tokens) > size:
            yield _piece(begin, word.start, taken)
            begin, taken, tokens = word.start, [], 0
        taken.append(word)
        tokens += word.tokens
    yield _piece(begin, piece.end, taken)


def _piece(start: int, end: int, words: Iterable[Word]) -> _Piece:
    tokens = sum(word.tokens for word in words)
    return _Piece(start, end, max(tokens, (end - start) // _PER_TOKEN), opens=False)


def _fitting(text: str, piece: _Piece, measure: Measure, *, size: int) -> Iterator[_Piece]:
    """A single word of more than a chunk, halved until its parts fit."""
    if piece.tokens <= size or piece.end - piece.start == 1:
        yield piece
        return
    middle = (piece.start + piece.end) // 2
    halves = [(piece.start, middle), (middle, piece.end)]
    measured = measure([text[start:end] for start, end in halves])
    for (start, end), words in zip(halves, measured, strict=True):
        yield from _fitting(text, _piece(start, end, words), measure, size=size)
