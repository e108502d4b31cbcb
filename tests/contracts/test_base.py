"""What a type lets through reaches a URL, a column or a log."""

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.common.contracts.base import Id, Metadata


@pytest.mark.parametrize("value", ["a", "ft:model:x:1", "file-é", "a.b", "a b"])
def test_an_id_is_part_of_a_path(value: str) -> None:
    assert TypeAdapter(Id).validate_python(value) == value


@pytest.mark.parametrize(
    "value", ["a\n", "a\tb", "\x00", "\x7f", "..", ".", "a/b", "a?b", "a%2e", ""]
)
def test_what_would_break_a_url_is_no_id(value: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Id).validate_python(value)


@pytest.mark.parametrize(
    "metadata",
    [
        {"key": "\ud800"},
        {"\udfff": "value"},
        {str(number): "" for number in range(17)},
        {str(number): number for number in range(100_000)},
    ],
    ids=["half a pair", "half a pair as a key", "17 pairs", "100,000 wrong pairs"],
)
def test_metadata_that_cannot_be_kept_are_refused_with_one_sentence(metadata: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Metadata).validate_python(json.loads(json.dumps(metadata)))
    assert refused.value.error_count() == 1
