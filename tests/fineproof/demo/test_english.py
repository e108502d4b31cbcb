"""The grammar under the templates."""

from fineproof.demo.english import (
    clock,
    clock_aliases,
    listing,
    quantity,
    quantity_aliases,
    spelt,
    with_article,
)


def test_numbers_are_spelt_as_one_says_them() -> None:
    assert [spelt(n) for n in (0, 14, 20, 57, 99)] == [
        "zero", "fourteen", "twenty", "fifty-seven", "ninety-nine",
    ]  # fmt: skip
    assert spelt(1250) == "1,250"


def test_a_quantity_may_be_answered_in_words_or_without_its_unit() -> None:
    assert quantity(1250, "hours") == "1,250 hours"
    assert quantity_aliases(1250, "hours") == ("1250 hours", "1,250", "1250")
    assert quantity_aliases(14, "days per quarter") == (
        "fourteen days per quarter", "14", "14 days",
    )  # fmt: skip
    assert "340 watts" in quantity_aliases(340, "W", "watts")


def test_times_may_be_told_on_twelve_hours() -> None:
    assert clock(400) == "06:40"
    assert clock_aliases(400) == ("6:40", "6:40 am")
    assert clock_aliases(845) == ("2:05 pm",)
    assert clock_aliases(720) == ("12:00 pm",)


def test_lists_and_articles_are_english() -> None:
    assert listing(["fuses", "hoses", "caps"]) == "fuses, hoses and caps"
    assert with_article("oven") == "an oven"
    assert with_article("pump") == "a pump"
