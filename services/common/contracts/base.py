"""What all wire models share."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

T = TypeVar("T")


class Wire(BaseModel):
    """A response: unknown fields of a newer peer are ignored."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Ask(BaseModel):
    """A request: a misspelt parameter is refused, not silently dropped."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Page(Wire, Generic[T]):
    """OpenAI's cursor list; the next page is asked for with ``after=<last_id>``."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None


class Deleted(Wire):
    id: str
    object: str
    deleted: bool = True


def _few_pairs(value: object) -> object:
    # Asked first: pydantic keeps a fault for each pair, of as many as a body holds.
    if isinstance(value, dict) and len(value) > 16:
        raise ValueError("at most 16 metadata pairs are kept")
    return value


def _check_metadata(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        if len(key) > 64 or len(text) > 512:
            raise ValueError("metadata keys hold at most 64 characters, values at most 512")
        try:
            (key + text).encode()
        except UnicodeEncodeError:
            raise ValueError("metadata must be valid Unicode, no half of a pair") from None
    return value


def or_if_null(default: object) -> BeforeValidator:
    """For what OpenAI's clients may send as null, by which they mean what it is by default."""
    return BeforeValidator(lambda value: default if value is None else value)


Metadata = Annotated[dict[str, str], BeforeValidator(_few_pairs), AfterValidator(_check_metadata)]

Name = Annotated[str, Field(min_length=1, max_length=256)]
ShortName = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
]
# Part of a peer's path: nothing that means something else in a URL or may not stand in one, and not
# dots alone.
_BARRED = r"\x00-\x1f\x7f/?#%\\"
_SEGMENT = rf"[^{_BARRED}]"
Id = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        pattern=rf"^{_SEGMENT}*[^{_BARRED}.]{_SEGMENT}*$",
    ),
]
# A caller's own id of a passage or document: a number, a path, a URL.
Key = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]
Attributes = dict[str, str | bool | float]


def attributes_fault(attributes: Attributes) -> str | None:
    """Why a passage or a file does not have these, though the type lets them through."""
    if len(attributes) > 16:
        return "'attributes' holds at most 16 pairs"
    if any(not 1 <= len(key) <= 64 for key in attributes):
        return "keys of 'attributes' hold 1 to 64 characters"
    if "doc_id" in attributes:
        return "'doc_id' is a field of the passage and cannot be an attribute too"
    if any(isinstance(value, str) and len(value) > 512 for value in attributes.values()):
        return "values of 'attributes' hold at most 512 characters"
    return None
