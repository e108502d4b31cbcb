"""Likeness of texts, against values known from the papers or by hand."""

import math
import random
import tracemalloc

import pytest
from rouge_score.rouge_scorer import RougeScorer

from services.evaluator.evals.grading.text import MOST_TEXT, similarity

METRICS = [
    "fuzzy_match",
    "bleu",
    "gleu",
    "meteor",
    "rouge_1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
]
LONG = "the quick brown fox jumps over the lazy dog"


@pytest.mark.parametrize("metric", METRICS)
def test_the_same_text_is_1_another_0_and_an_empty_one_0(metric: str) -> None:
    assert similarity(metric, LONG, LONG) == pytest.approx(1, abs=1e-3)  # type: ignore[arg-type]
    assert similarity(metric, "zzz", LONG) == pytest.approx(0, abs=0.05)  # type: ignore[arg-type]
    assert similarity(metric, " ", LONG) == 0  # type: ignore[arg-type]
    assert similarity(metric, "", "") == 1  # type: ignore[arg-type]


def test_fuzzy_match_is_the_share_of_characters_that_stay() -> None:
    assert similarity("fuzzy_match", "kitten", "sitting") == pytest.approx(8 / 13)


def test_bleu_of_a_short_text_pays_for_its_brevity_alone() -> None:
    assert similarity("bleu", "the cat sat", "the cat sat on") == pytest.approx(math.exp(-1 / 3))


def test_gleu_is_the_lesser_of_precision_and_recall_of_n_grams() -> None:
    # 2 of the hypothesis' 6 n-grams are among the reference's 10: 3 words, their pairs and triple.
    assert similarity("gleu", "a b x", "a b c d") == pytest.approx(3 / 10)


def test_meteor_knows_stems_and_no_synonyms() -> None:
    assert similarity("meteor", "cats run", "cat running") > 0.9
    assert similarity("meteor", "big", "large") == 0


def test_rouge_counts_n_grams_and_the_longest_common_subsequence() -> None:
    assert similarity("rouge_1", "a b x", "a b c") == pytest.approx(2 / 3)
    assert similarity("rouge_2", "a b x", "a b c") == pytest.approx(1 / 2)
    assert similarity("rouge_l", "a x b c", "a b c") == pytest.approx(6 / 7)


def test_texts_that_would_take_for_ever_are_refused() -> None:
    with pytest.raises(ValueError, match="characters"):
        similarity("rouge_l", "a " * MOST_TEXT, "a")


def test_rouge_l_is_that_of_rouge_score() -> None:
    random.seed(1)
    theirs = RougeScorer(["rougeL"])
    words = ["a", "b", "I'm", "b-c", "Ü", "Москва", "x1", "...", "the"]
    for _ in range(300):
        text, reference = (" ".join(random.choices(words, k=random.randrange(12))) for _ in "ab")
        if text.strip() and reference.strip():
            expected = theirs.score(reference, text)["rougeL"].fmeasure
            assert similarity("rouge_l", text, reference) == pytest.approx(expected, abs=1e-12)


def test_rouge_l_of_long_texts_needs_no_table_of_their_tokens() -> None:
    tracemalloc.start()
    assert similarity("rouge_l", "a " * 5_000, "b " * 4_999 + "a") == pytest.approx(1 / 5_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 2**20
