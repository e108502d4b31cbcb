"""The wire of ``/v1/evals``: OpenAI's names, ours where OpenAI has none."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from services.common.contracts.base import Ask, Id, Metadata, Name, Wire
from services.common.contracts.evaluator import Verdict
from services.common.errors import UNSUPPORTED
from services.evaluator.evals.graders import Grader, Messages, TextSimilarity
from services.evaluator.evals.keeping import shallow

MOST_INLINE = 50_000
Json = dict[str, Any]
AskedJson = Annotated[Json, AfterValidator(shallow)]


class CustomConfig(Ask):
    type: Literal["custom"]
    item_schema: Json
    include_sample_schema: bool = False


class LogsConfig(Ask):
    """Items of any shape: nothing is logged here that ``metadata`` could choose from."""

    type: Literal["logs"]
    metadata: AskedJson | None = None


class StoredCompletionsConfig(Ask):
    """OpenAI's older name for ``logs``."""

    type: Literal["stored_completions"]
    metadata: AskedJson | None = None


DataSourceConfig = Annotated[
    CustomConfig | LogsConfig | StoredCompletionsConfig, Field(discriminator="type")
]


class EvalCreate(Ask):
    name: Name | None = None
    metadata: Metadata | None = None
    data_source_config: DataSourceConfig
    testing_criteria: Annotated[list[Grader], Field(min_length=1, max_length=32)]

    @model_validator(mode="after")
    def _criteria_can_be_told_apart(self) -> Self:
        names = [criterion.name for criterion in self.testing_criteria]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two criteria are named '{twice[0]}'; give each a name of its own")
        for criterion in self.testing_criteria:
            if isinstance(criterion, TextSimilarity) and criterion.pass_threshold is None:
                raise ValueError(f"criterion '{criterion.name}' needs a pass_threshold")
        return self


class EvalUpdate(Ask):
    """What is left out stays as it is."""

    name: Name | None = None
    metadata: Metadata | None = None


class Eval(Wire):
    id: str
    object: Literal["eval"] = "eval"
    created_at: int
    updated_at: int
    name: str
    metadata: dict[str, str] | None
    data_source_config: Json
    testing_criteria: list[Json]


class EvalDeleted(Wire):
    object: Literal["eval.deleted"] = "eval.deleted"
    deleted: bool = True
    eval_id: str


class InlineItem(Ask):
    """``sample`` is an answer that was given elsewhere: ``output_text``, and what else it has."""

    item: AskedJson
    sample: AskedJson | None = None


class FileContent(Ask):
    """Kept without its ``content``, which becomes the run's items."""

    type: Literal["file_content"]
    content: Annotated[list[InlineItem], Field(max_length=MOST_INLINE)]


class FileId(Ask):
    type: Literal["file_id"]
    id: Id


class Stored(Ask):
    """Answers that OpenAI would have kept. Known, so that it is refused by what it is."""

    type: Literal["stored_completions", "responses"]

    @model_validator(mode="before")
    @classmethod
    def _is_refused(cls, _: Any) -> Any:
        raise PydanticCustomError(
            UNSUPPORTED,
            "fineproof keeps no answers that a source could select from; send the items as "
            "'file_content' or upload them and name the file by 'file_id'.",
        )


Source = Annotated[FileContent | FileId | Stored, Field(discriminator="type")]


class TemplateMessages(Ask):
    type: Literal["template"]
    template: Messages


class ItemReference(Ask):
    """``item.x``, where the item keeps a list of messages or one user's words."""

    type: Literal["item_reference"]
    item_reference: Annotated[str, Field(min_length=1, max_length=500)]


InputMessages = Annotated[TemplateMessages | ItemReference, Field(discriminator="type")]


class _Sampling(Ask):
    max_completion_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = None
    reasoning_effort: Annotated[str, Field(max_length=32)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    tools: Annotated[list[AskedJson], Field(max_length=128)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None

    @field_validator("tools")
    @classmethod
    def _functions_only(cls, tools: list[Json] | None) -> list[Json] | None:
        for tool in tools or ():
            if tool.get("type") != "function":
                raise PydanticCustomError(
                    UNSUPPORTED, "Tools of type 'function' only may be offered to the model here."
                )
        return tools


class ChatSampling(_Sampling):
    response_format: AskedJson | None = None


class TextFormat(Ask):
    format: AskedJson | None = None


class ResponsesSampling(_Sampling):
    text: TextFormat | None = None


class JsonlSource(Ask):
    """Answers are in the data: nothing is asked of a model but by graders."""

    type: Literal["jsonl"]
    source: Source


class _Sampled(Ask):
    source: Source
    model: Id
    input_messages: InputMessages


class CompletionsSource(_Sampled):
    type: Literal["completions"]
    sampling_params: ChatSampling | None = None


class ResponsesSource(_Sampled):
    type: Literal["responses"]
    sampling_params: ResponsesSampling | None = None


SampledSource = CompletionsSource | ResponsesSource
DataSource = Annotated[
    JsonlSource | CompletionsSource | ResponsesSource, Field(discriminator="type")
]


class RunCreate(Ask):
    name: Name | None = None
    metadata: Metadata | None = None
    data_source: DataSource


RunStatus = Literal["queued", "in_progress", "completed", "canceled", "failed"]


class ApiError(Wire):
    code: str
    message: str


class ResultCounts(Wire):
    """Of the items done so far; an ``errored`` one is neither passed nor failed."""

    total: int = 0
    passed: int = 0
    failed: int = 0
    errored: int = 0


class CriterionResult(Wire):
    testing_criteria: str
    passed: int = 0
    failed: int = 0
    errored: int = 0


class ModelUsage(Wire):
    """``invocation_count`` counts what was asked of the model; ``cached_count`` what was not, as it
    had been asked before."""

    model_name: str
    invocation_count: int = 0
    cached_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    total_tokens: int = 0


class Run(Wire):
    """``items`` is how many there are to do, once that is known. In lists, the ``content`` of an
    inline source is left out."""

    id: str
    object: Literal["eval.run"] = "eval.run"
    eval_id: str
    created_at: int
    finished_at: int | None
    name: str
    model: str
    status: RunStatus
    data_source: Json
    metadata: dict[str, str] | None
    report_url: str
    error: ApiError | None
    result_counts: ResultCounts
    per_testing_criteria_results: list[CriterionResult]
    per_model_usage: list[ModelUsage]
    items: int | None


class RunDeleted(Wire):
    object: Literal["eval.run.deleted"] = "eval.run.deleted"
    deleted: bool = True
    run_id: str


class OutputItem(Wire):
    """``status`` is ``error`` where a grader, or the model, gave nothing that can be scored."""

    id: str
    object: Literal["eval.run.output_item"] = "eval.run.output_item"
    created_at: int
    run_id: str
    eval_id: str
    status: Literal["pass", "fail", "error"]
    datasource_item_id: int
    datasource_item: Json
    results: list[Json]
    sample: Json | None


class CompareCreate(Ask):
    """Compare two runs over the same data. ``margin`` is what counts as no difference, on a scale
    from 0 to 1; ``cluster`` names the field of the items whose equals belong together."""

    base_run: Id
    tuned_run: Id
    criterion: Name | None = None
    cluster: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    margin: Annotated[float, Field(gt=0, le=1)] = 0.05
    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.05
    resamples: Annotated[int, Field(ge=1_000, le=20_000)] = 10_000
    permutations: Annotated[int, Field(ge=1_000, le=20_000)] = 10_000
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class CriterionComparison(Wire):
    """``base`` and ``tuned`` are mean scores of the ``n`` items that both runs scored, ``diff`` is
    tuned minus base; a ``score_model``'s are moved to a scale from 0 to 1. ``unscored`` counts the
    pairs left out. p is Holm's over all criteria compared."""

    criterion: str
    base: float
    tuned: float
    diff: float
    ci95: tuple[float, float]
    p: float
    p_holm: float
    n: int
    clusters: int
    unscored: int
    gained: int
    lost: int
    verdict: Verdict
    note: str | None
    n_needed: int | None


class EvalComparison(Wire):
    """``gained`` and ``lost`` in a criterion count the items whose pass or fail changed sides."""

    object: Literal["eval.comparison"] = "eval.comparison"
    eval_id: str
    base_run: str
    tuned_run: str
    paired: int
    unpaired: int
    criteria: list[CriterionComparison]
    headline: str
