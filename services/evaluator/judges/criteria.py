"""What answers are judged by: the criteria that are built in, and those a caller declares."""

from dataclasses import dataclass
from types import MappingProxyType

from services.common.contracts.judge import JudgeAsk, Sight


@dataclass(frozen=True)
class Criterion:
    """``steps`` is None where the judge is to write them; ``sees`` what it is shown beside the
    answer. Scores are whole numbers from ``lowest`` to ``highest``, of one digit each."""

    name: str
    text: str
    lowest: int = 1
    highest: int = 5
    sees: tuple[Sight, ...] = ("question", "reference")
    steps: tuple[str, ...] | None = None

    @property
    def scores(self) -> tuple[int, ...]:
        return tuple(range(self.lowest, self.highest + 1))

    @property
    def title(self) -> str:
        return self.name.replace("_", " ").capitalize()


BUILT_IN = MappingProxyType(
    {
        criterion.name: criterion
        for criterion in (
            Criterion(
                "accuracy",
                "Whether what the answer states is correct: it agrees with the reference answer "
                "and contradicts nothing in it. Wrong names, numbers or facts make an answer "
                "inaccurate, however well it is worded. Leaving something out does not.",
            ),
            Criterion(
                "completeness",
                "Whether the answer says everything that the reference answer says in reply to "
                "the question. What is missing or wrong makes it incomplete. Being long does not "
                "make it complete.",
            ),
            Criterion(
                "faithfulness",
                "Whether every statement of the answer is supported by the passages. What they do "
                "not say is unsupported, even where it happens to be true.",
                sees=("question", "passages"),
            ),
            Criterion(
                "relevance",
                "Whether the answer replies to the question that was asked: directly, and without "
                "what nobody asked for. Whether it is true does not matter here.",
                sees=("question",),
            ),
        )
    }
)


def criteria_of(ask: JudgeAsk) -> list[Criterion]:
    """The criteria a specification declares, in its order."""
    built_in = [
        Criterion(
            name,
            BUILT_IN[name].text,
            sees=BUILT_IN[name].sees,
            steps=tuple(ask.steps[name]) if name in ask.steps else None,
        )
        for name in ask.metrics
    ]
    own = [
        Criterion(
            rubric.name,
            rubric.criterion,
            lowest=rubric.scale[0],
            highest=rubric.scale[1],
            sees=tuple(rubric.sees),
            steps=None if rubric.steps is None else tuple(rubric.steps),
        )
        for rubric in ask.rubrics
    ]
    return [*built_in, *own]
