"""What becomes of one item: asked, answered, graded, each as far as it went."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from services.common.errors import FineproofError
from services.evaluator.evals.asking import Asker, Said
from services.evaluator.evals.grading.grades import AnyGrader, Grade, Means, grade
from services.evaluator.evals.keeping import held
from services.evaluator.evals.models import OutputItemRow
from services.evaluator.evals.sampling import (
    blank_request,
    failed_sample,
    given_sample,
    request_of,
    sample_of,
)
from services.evaluator.evals.schemas import CompletionsSource, Json, JsonlSource, ResponsesSource
from services.evaluator.evals.tally import Status
from services.evaluator.evals.wording import Unfilled

Source = JsonlSource | CompletionsSource | ResponsesSource


@dataclass(frozen=True)
class Outcome:
    row: Json
    status: Status
    asked: list[Said]


async def outcome_of(
    row: OutputItemRow, source: Source, criteria: Sequence[AnyGrader], asker: Asker, means: Means
) -> Outcome:
    """Ask, and grade what was said; what goes wrong with this item alone is in its outcome."""
    asked: list[Said] = []
    sample = row.given
    shown = None if sample is None else given_sample(sample)
    if not isinstance(source, JsonlSource):
        body = blank_request(source)
        try:
            body = request_of(source, row.item)
            said = await asker.ask(body)
        except Unfilled as error:
            return _unanswered(row, body, criteria, "unfilled_template", str(error))
        except FineproofError as error:
            if error.code == "adapter_mismatch":
                raise
            return _unanswered(row, body, criteria, error.code, error.message)
        asked.append(said)
        sample = shown = sample_of(body, said)
    names: Json = {"item": row.item} | ({"sample": sample} if sample is not None else {})
    grades = await asyncio.gather(*(grade(each, names, means) for each in criteria))
    results = [_result(g, each) for g, each in zip(grades, criteria, strict=True)]
    asked += chain.from_iterable(g.asked for g in grades)
    status: Status = "pass"
    if any(g.score is None for g in grades):
        status = "error"
    elif not all(g.passed for g in grades):
        status = "fail"
    return _outcome(row, status, results, shown, asked)


def _unanswered(
    row: OutputItemRow, body: Json, criteria: Sequence[AnyGrader], code: str, message: str
) -> Outcome:
    """Nothing was said: every criterion is unscored."""
    blank = Grade(None, False, f"{code}: {message}")
    sample = failed_sample(body, code, message)
    return _outcome(row, "error", [_result(blank, each) for each in criteria], sample, [])


def _outcome(
    row: OutputItemRow, status: Status, results: list[Json], sample: Json | None, asked: list[Said]
) -> Outcome:
    kept = {"id": row.id, "status": status, "results": held(results), "sample": held(sample)}
    return Outcome(kept, status, asked)


def _result(of: Grade, criterion: AnyGrader) -> Json:
    result = {
        "name": criterion.name,
        "type": f"{criterion.type.replace('_', '-')}-grader",
        "passed": of.passed,
        "score": of.score,
        "sample": of.sample,
    }
    return result | ({"error": of.error} if of.error else {})
