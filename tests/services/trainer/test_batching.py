import pytest

from services.trainer.batching import micro_batch


@pytest.mark.parametrize(
    ("batch", "longest", "tokens", "micro"),
    [(8, 50, 2048, 8), (8, 350, 2048, 4), (8, 4000, 2048, 1), (6, 700, 2048, 2), (1, 1, 16, 1)],
)
def test_a_micro_batch_divides_the_batch_and_stays_in_its_budget(
    batch: int, longest: int, tokens: int, micro: int
) -> None:
    assert micro_batch(batch, longest, tokens) == micro
