"""Which models a run asks."""

from collections.abc import Iterable

from services.evaluator.evals.graders import LabelModel, Multi, ScoreModel
from services.evaluator.evals.grading.grades import AnyGrader
from services.evaluator.evals.schemas import CompletionsSource, JsonlSource, ResponsesSource


def graders_of(criteria: Iterable[AnyGrader]) -> list[AnyGrader]:
    """What is inside the criteria, and the criteria."""
    found: list[AnyGrader] = []
    for criterion in criteria:
        if isinstance(criterion, Multi):
            found += criterion.parts.values()
        found.append(criterion)
    return found


def models_of(
    criteria: Iterable[AnyGrader], source: JsonlSource | CompletionsSource | ResponsesSource | None
) -> set[str]:
    named = {g.model for g in graders_of(criteria) if isinstance(g, (LabelModel, ScoreModel))}
    if source is not None and not isinstance(source, JsonlSource):
        named.add(source.model)
    return named
