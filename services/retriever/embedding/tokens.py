"""How many tokens the words of a text are."""

import re
from collections.abc import Sequence
from typing import Any

from services.retriever.chunking import Word

# Digits by themselves, as tokenizers of the Qwen family have them; signs too.
_WORD = re.compile(r"\d|[^\W\d]+|[^\w\s]")

# A word that a tokenizer does not know is one token, blanks are none, however long; vLLM refuses by
# characters too: 18 for each token it may have of all-MiniLM-L6-v2.
_CHARACTERS = 12


def words_of(tokenizer: Any, texts: Sequence[str]) -> list[list[Word]]:
    """The words of each text as a fast tokenizer of transformers sees them."""
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        verbose=False,
    ).encodings
    return [_words(one.word_ids, one.offsets) for one in encoded]


def _words(ids: Sequence[int | None], offsets: Sequence[tuple[int, int]]) -> list[Word]:
    words: list[Word] = []
    last = None
    for word, (start, _) in zip(ids, offsets, strict=True):
        if words and word is not None and word == last:
            words[-1] = Word(words[-1].start, words[-1].tokens + 1)
        else:
            words.append(Word(start, 1))
        last = word
    return words


def estimated_words(texts: Sequence[str]) -> list[list[Word]]:
    """The words of each text where no tokenizer is at hand: a token for every three bytes of UTF-8.

    English has about four to one, a Chinese sign is three. It is an estimate: names and rare
    words may be more.
    """
    return [
        [Word(found.start(), -(-len(found[0].encode()) // 3)) for found in _WORD.finditer(text)]
        for text in texts
    ]


def cut(text: str, words: Sequence[Word], *, tokens: int) -> str:
    """The text's beginning, of at most so many tokens, whole words if it has more than one; and of
    no more characters than such tokens have."""
    text = text[: tokens * _CHARACTERS]
    used = 0
    for word in words:
        used += word.tokens
        if used > tokens:
            return text[: word.start].strip() or text[:tokens]
    return text
