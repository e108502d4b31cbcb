"""What more than one service means by the same text, and by a sentence."""

import re
import string

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_LONG = 4
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def squad_normalise(text: str) -> str:
    """Lower case, without ASCII punctuation, articles and spare blanks.

    The normalisation of SQuAD's official evaluation script (Rajpurkar et al. 2016), to the letter.
    """
    bare = text.lower().translate(_ASCII_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def comparable(text: str) -> str:
    """``text`` as SQuAD normalises it; as it stands where that leaves nothing."""
    return squad_normalise(text) or text.strip()


def is_long(text: str) -> bool:
    """Whether it has so many words that another hardly agrees with it by chance."""
    return len(text.split()) >= _LONG


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends, without the space around it."""
    spans, start = [], 0
    for gap in (*_SENTENCE_END.finditer(text), None):
        end = gap.start() if gap else len(text)
        piece = text[start:end]
        if piece.strip():
            lead = len(piece) - len(piece.lstrip())
            spans.append((start + lead, start + len(piece.rstrip())))
        start = gap.end() if gap else end
    return spans
