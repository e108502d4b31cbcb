from hypothesis import given
from hypothesis import strategies as st

from services.retriever.chunking import Word
from services.retriever.embedding.tokens import cut, estimated_words


@given(st.text(st.characters(codec="utf-8")))
def test_estimated_words_are_in_the_text_in_its_order(text: str) -> None:
    [words] = estimated_words([text])
    starts = [word.start for word in words]
    assert starts == sorted(set(starts))
    assert all(not text[start].isspace() for start in starts)
    assert all(word.tokens > 0 for word in words)


def test_a_digit_and_a_sign_are_a_token_each_and_a_word_one_for_three_bytes() -> None:
    [words] = estimated_words(["Valve 41! 阀门"])
    assert [word.tokens for word in words] == [2, 1, 1, 1, 2]
    assert [word.start for word in words] == [0, 6, 7, 8, 10]


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.integers(1, 20))
def test_a_cut_text_is_the_beginning_of_it_and_not_empty(text: str, tokens: int) -> None:
    [words] = estimated_words([text])
    kept = cut(text, words, tokens=tokens)
    assert kept in text
    assert kept


def test_a_text_is_cut_between_words() -> None:
    text = "one two three four"
    [words] = estimated_words([text])
    assert cut(text, words, tokens=3) == "one two"
    assert cut(text, words, tokens=100) == text


def test_what_is_one_token_however_long_is_cut_too() -> None:
    assert len(cut("x" * 5_000, [Word(0, 1)], tokens=254)) < 254 * 18
