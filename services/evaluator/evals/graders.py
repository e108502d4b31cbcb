"""Graders as they are asked for: OpenAI's names, and what of them is done here."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from services.common.contracts.base import Ask, Id, Name
from services.common.errors import UNSUPPORTED
from services.evaluator.evals.keeping import shallow

Template = Annotated[str, Field(max_length=100_000)]
"""Text with ``{{item.x}}`` and ``{{sample.output_text}}`` in it."""

_SEEN_NOT = ("input_image", "input_audio")


def _only_text(content: Any) -> Any:
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in _SEEN_NOT:
            raise PydanticCustomError(
                UNSUPPORTED, f"Content of type '{kind}' is not graded here; models are given text."
            )
        if kind not in ("input_text", "output_text", "text") or not isinstance(
            part.get("text"), str
        ):
            raise ValueError("content is text, or parts {type: input_text | output_text, text}")
    return content


class Message(Ask):
    """``content`` may hold templates; parts of it are joined. ``phase``, which OpenAI's client may
    send, is kept and not asked: chat completions have none."""

    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[
        Template | dict[str, Any] | list[Any], AfterValidator(_only_text), AfterValidator(shallow)
    ]
    type: Literal["message"] = "message"
    phase: Literal["commentary", "final_answer"] | None = None

    @property
    def text(self) -> str:
        parts = self.content if isinstance(self.content, list) else [self.content]
        return "".join(part if isinstance(part, str) else part["text"] for part in parts)


Messages = Annotated[list[Message], Field(min_length=1, max_length=100)]


class StringCheck(Ask):
    """``like`` finds ``reference`` within ``input``; ``ilike`` does so whatever the case."""

    type: Literal["string_check"]
    name: Name
    input: Template
    reference: Template
    operation: Literal["eq", "ne", "like", "ilike"]


Similarity = Literal[
    "cosine",
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


class TextSimilarity(Ask):
    type: Literal["text_similarity"]
    name: Name
    input: Template
    reference: Template
    evaluation_metric: Similarity
    pass_threshold: float | None = None


class LabelModel(Ask):
    type: Literal["label_model"]
    name: Name
    model: Id
    input: Messages
    labels: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=256)]],
        Field(min_length=1, max_length=64),
    ]
    passing_labels: list[str]

    @model_validator(mode="after")
    def _passes_on_its_labels(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("each label may be named once")
        if strange := [label for label in self.passing_labels if label not in self.labels]:
            raise ValueError(f"passing label '{strange[0]}' is not one of the labels")
        return self


class GraderSampling(Ask):
    """OpenAI spells the number of tokens both ways."""

    max_completions_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = None
    reasoning_effort: Annotated[str, Field(max_length=32)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    @property
    def max_tokens(self) -> int | None:
        return self.max_completions_tokens or self.max_completion_tokens


class ScoreModel(Ask):
    type: Literal["score_model"]
    name: Name
    model: Id
    input: Messages
    range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None
    sampling_params: GraderSampling | None = None
    pass_threshold: float | None = None

    @model_validator(mode="after")
    def _range_ascends(self) -> Self:
        low, high = self.bounds
        if low >= high:
            raise ValueError("range is two numbers, the lower first")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        low, high = self.range or (0.0, 1.0)
        return low, high


class Python(Ask):
    """Known, so that it is refused by what it is."""

    type: Literal["python"]
    name: Name
    source: Annotated[str, Field(max_length=256_000)]
    image_tag: Annotated[str, Field(max_length=256)] | None = None
    pass_threshold: float | None = None


SingleGrader = Annotated[
    StringCheck | TextSimilarity | LabelModel | ScoreModel | Python, Field(discriminator="type")
]


class Multi(Ask):
    """``calculate_output`` is a formula over the scores of ``graders``, by their keys."""

    type: Literal["multi"]
    name: Name
    graders: (
        Annotated[dict[Name, SingleGrader], Field(min_length=1, max_length=16)]
        | Annotated[list[SingleGrader], Field(min_length=1, max_length=16)]
        | SingleGrader
    )
    calculate_output: Annotated[str, Field(min_length=1, max_length=1_000)]
    pass_threshold: float | None = None

    @property
    def parts(self) -> dict[str, SingleGrader]:
        if isinstance(self.graders, dict):
            return self.graders
        graders = self.graders if isinstance(self.graders, list) else [self.graders]
        return {grader.name: grader for grader in graders}


Grader = Annotated[
    StringCheck | TextSimilarity | LabelModel | ScoreModel | Python | Multi,
    Field(discriminator="type"),
]
