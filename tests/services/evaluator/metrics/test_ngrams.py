"""Overlap of sequences, by hand where a hand can count it."""

from pathlib import Path

import pytest
import sacrebleu

from services.evaluator.metrics import METRICS, SIMILARITY, Sample, score, score_all
from services.evaluator.metrics.ngrams import bleu, chrf, rouge_l


def test_rouge_l_is_the_longest_common_subsequence_s_f() -> None:
    # 3 of 4 words in order on one side, 3 of 6 on the other: P = 1/2, R = 3/4, F = 0.6.
    sample = Sample("red one green two blue three", ["red green blue white"])
    assert rouge_l(sample) == pytest.approx(0.6)


def test_bleu_counts_n_grams_up_to_the_answer_s_own_length() -> None:
    # Of "the old pump": 3 of 3 words, 2 of 2 pairs, 1 of 1 triple; brevity exp(1 - 5/3).
    sample = Sample("the old pump", ["the old pump is here"])
    assert bleu(sample) == pytest.approx(2.718281828 ** (1 - 5 / 3))
    assert bleu(Sample("teal", ["teal"])) == pytest.approx(1.0)


@pytest.mark.parametrize("said", ["the pump was installed in Oslo", "Oslo", "nothing of it", ""])
def test_both_agree_with_sacrebleu_s_own_functions(said: str) -> None:
    references = ["the pump was installed in Bergen", "Bergen is where it was installed"]
    sample = Sample(said, references, aliases=["Bergen"])
    own = sacrebleu.sentence_bleu(said, references, use_effective_order=True)
    assert bleu(sample) == pytest.approx(own.score / 100)
    assert chrf(sample) == pytest.approx(sacrebleu.sentence_chrf(said, references).score / 100)


def test_chrf_forgives_an_ending_that_bleu_does_not() -> None:
    sample = Sample("installations", ["installation"])
    assert bleu(sample) == 0.0
    assert chrf(sample) > 0.8


def test_scoring_many_at_once_is_scoring_each() -> None:
    samples = [Sample("Bergen", ["Bergen"]), Sample("It is Oslo.", ["Bergen"], passages=["Oslo"])]
    assert score_all(samples) == [score(sample) for sample in samples]
    with_model = score_all(samples, lambda many: [0.25] * len(many))
    assert [scores[SIMILARITY] for scores in with_model] == [0.25, 0.25]
    assert list(with_model[0]) == list(METRICS)


def test_an_embedding_model_that_is_not_there_is_named_by_its_setting(tmp_path: Path) -> None:
    from services.common.errors import FineproofError
    from services.evaluator.metrics.similarity import Similarity

    with pytest.raises(FineproofError, match="EMBEDDING_MODEL") as caught:
        Similarity(str(tmp_path / "nowhere"))([Sample("a", ["b"])])
    assert caught.value.code == "embedding_model_unreadable"
