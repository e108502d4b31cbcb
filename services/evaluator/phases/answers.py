"""What was said, as it is kept: a row with its sample to score, or with the error in its place."""

from dataclasses import dataclass

from services.common.contracts.generator import RagAnswer
from services.common.errors import UpstreamFailed
from services.evaluator.metrics import Sample
from services.evaluator.models import Json
from services.evaluator.phases.proving import ProvenArm
from services.evaluator.phases.questions import Question


@dataclass(frozen=True)
class Said:
    """An answer's row before it is scored; ``sample`` is None when no answer came.

    ``fresh`` is what the generator was asked just now, to be kept for whoever asks the same.
    """

    row: Json
    sample: Sample | None
    fresh: RagAnswer | None = None


def answered(question: Question, said: RagAnswer) -> Said:
    """``adapter_mismatch`` is raised when another adapter than the proven one answered."""
    _check_adapter(question.arm, said)
    text = said.answer.replace("\x00", "\ufffd")  # PostgreSQL keeps no NUL
    row = {
        **question.key._asdict(),
        "text": text,
        "finish_reason": said.finish_reason,
        "passage_ids": [passage.id for passage in said.passages],
        "left_out": said.left_out,
        "citations": [citation.model_dump(mode="json") for citation in said.citations],
        "prompt_sha256": said.prompt_sha256,
        "adapter_sha256": said.adapter_sha256,
        "prompt_tokens": said.usage.prompt_tokens,
        "completion_tokens": said.usage.completion_tokens,
        "generation_ms": said.timings.generation_ms,
        "error": None,
    }
    return Said(row, _sample(question, text, said))


def unanswered(question: Question, error: str) -> Said:
    row = {
        **question.key._asdict(),
        "text": None,
        "finish_reason": None,
        "passage_ids": [],
        "left_out": [],
        "citations": [],
        "prompt_sha256": None,
        "adapter_sha256": None,
        "prompt_tokens": None,
        "completion_tokens": None,
        "generation_ms": None,
        "error": error.replace("\x00", "\ufffd")[:2_000],
    }
    return Said(row, None)


def shown(title: str | None, text: str) -> str:
    """A passage as the model read it, but for its number: an answer may say what a title says."""
    return f"{title}\n{text}" if title else text


def _check_adapter(arm: ProvenArm, said: RagAnswer) -> None:
    if said.adapter_sha256 != arm.sha256:
        raise UpstreamFailed(
            f"Arm '{arm.name}' was answered by {said.adapter_sha256 or 'the base model'}, but "
            f"{arm.sha256 or 'the base model'} is under test.",
            code="adapter_mismatch",
        )


def _sample(question: Question, text: str, said: RagAnswer) -> Sample:
    given = question.condition != "closed_book"
    place = {passage.index: at for at, passage in enumerate(said.passages)}
    return Sample(
        answer=text,
        references=question.item.references,
        aliases=question.item.aliases,
        passages=[shown(one.title, one.text) for one in said.passages] if given else None,
        citations=[
            (place[citation.index], citation.start)
            for citation in said.citations
            if citation.index in place
        ],
    )
