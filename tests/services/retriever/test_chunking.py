import re
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from services.common.text import sentence_spans
from services.retriever.chunking import Measure, Span, Word, chunks
from tests.services.retriever.conftest import MODEL, Retriever

Chunking = Callable[..., list[Span]]


def measure(texts: Sequence[str]) -> list[list[Word]]:
    """A tokenizer of four letters a token, every other sign a token of its own."""
    return [
        [Word(m.start(), -(-len(m.group()) // 4)) for m in re.finditer(r"\w+|[^\w\s]", text)]
        for text in texts
    ]


def tokens(text: str, by: Measure = measure) -> int:
    return sum(word.tokens for word in by([text])[0])


def cut(text: str, size: int, overlap: int, by: Measure = measure) -> list[Span]:
    return list(chunks(text, by, size=size, overlap=overlap))


WORDS = st.text("abcde'-,. \n", max_size=30) | st.sampled_from(["a. ", "b!\n", "x" * 90, "語" * 40])
TEXTS = st.lists(WORDS, max_size=60).map("".join)
SIZES = st.integers(8, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size // 2)))


@given(text=TEXTS | st.text(max_size=300), sizes=SIZES)
def test_every_character_is_in_a_chunk_and_no_chunk_is_over_its_size(
    text: str, sizes: tuple[int, int]
) -> None:
    size, overlap = sizes
    spans = cut(text, size, overlap)
    if text:
        assert (spans[0].start, spans[-1].end) == (0, len(text))
    else:
        assert spans == []
    for before, after in pairwise(spans):
        assert before.start < after.start <= before.end < after.end
    for start, end in spans:
        assert tokens(text[start:end]) <= size


@given(text=TEXTS, sizes=SIZES)
def test_chunks_share_as_much_as_was_asked_and_no_more(text: str, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    opens = {start for start, _ in sentence_spans(text)}
    for before, after in pairwise(cut(text, size, overlap)):
        shared = tokens(text[after.start : before.end])
        assert shared <= overlap
        if after.start in opens:
            continue
        # One word more, from the blank before it, would be too much, unless a long one follows.
        word = re.search(r"\S+\s*\Z", text[before.start : after.start])
        follows = re.match(r"\s*\S+", text[before.end :])
        if word is None or word.start() == 0 or follows is None:
            continue
        more, next_ = tokens(word.group()), tokens(follows.group())
        assert shared + more > overlap or shared + more + next_ > size or more > size


@given(st.lists(st.integers(1, 6), min_size=1, max_size=80))
def test_chunks_end_with_sentences_that_are_short(lengths: list[int]) -> None:
    text = " ".join(" ".join(["word"] * length) + " end." for length in lengths)
    for start, end in cut(text, 20, 5):
        assert text[start:end].rstrip().endswith("end.")


def test_an_overlap_begins_with_a_sentence_where_one_begins_in_it() -> None:
    text = "One two three. Four five six. Seven eight nine. Ten eleven twelve."
    spans = cut(text, 10, 5)
    assert [text[start:end].strip() for start, end in spans][1].startswith("Four five six.")


def test_a_sentence_longer_than_the_overlap_is_shared_in_part() -> None:
    text = "word " * 100
    first, second, *_ = cut(text, 20, 6)
    assert tokens(text[second.start : first.end]) == 6


@pytest.mark.parametrize("text", ["語" * 1_000, "x" * 10_000, "a" * 50_000 + " b"])
def test_text_without_blanks_is_cut_all_the_same(text: str) -> None:
    spans = cut(text, 100, 50)
    assert all(tokens(text[start:end]) <= 100 for start, end in spans)
    assert len(spans) >= tokens(text) / 100


@pytest.mark.parametrize("text", ["a" + " " * 100_000 + "b", "\u200b" * 100_000])
def test_what_is_no_token_makes_no_endless_chunk(text: str) -> None:
    assert max(end - start for start, end in cut(text, 100, 50)) <= 100 * 41


LONG = (
    "The pump's valve (ZX-4411) isn't re-built at 3.5 bar, is it? Überprüfe täglich! 泵的阀门。 "
    * 40
)


@pytest.mark.parametrize(
    "text", [LONG, "https://a.example/" + "b-c_d/" * 400, "泵的阀门很旧" * 300]
)
def test_the_models_own_tokenizer_agrees_that_chunks_fit(retriever: Retriever, text: str) -> None:
    size = retriever.embedder.reads
    assert size == 254
    spans = cut(text, size, size // 2, retriever.embedder.words)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    for start, end in spans:
        assert len(tokenizer.encode(text[start:end], add_special_tokens=False)) <= size
    assert len(spans) > 1
