from services.common.sampling import Drawing

LINES = [f"line {number}" for number in range(1_000)]


def drawn(count: int, lines: list[str] = LINES, seed: int = 0) -> list[str]:
    drawing = Drawing(count, seed=seed)
    for line in lines:
        drawing.offer(line)
    return drawing.lines


def test_a_smaller_sample_is_the_beginning_of_a_larger_one() -> None:
    assert drawn(500)[:200] == drawn(200)
    assert drawn(1_000)[:500] == drawn(500)


def test_a_sample_does_not_depend_on_the_order_of_the_file() -> None:
    assert drawn(200, LINES[::-1]) == drawn(200)


def test_another_seed_draws_other_lines() -> None:
    assert 10 < len(set(drawn(200)) & set(drawn(200, seed=1))) < 80


def test_blank_lines_are_no_lines_and_equal_ones_are_two() -> None:
    drawing = Drawing(5, seed=0)
    for line in ("a", "", " ", "a"):
        drawing.offer(line)
    assert drawing.seen == 2
    assert drawing.lines == ["a", "a"]
