"""Judges of known character, for an exam to tell apart."""

import random
from collections.abc import Callable
from statistics import fmean, pstdev

from services.common.contracts.judge import Judgment
from services.evaluator.judges.exam.building import ExamAnswer
from services.evaluator.schemas import ItemLine

SCALE = (1, 5)
RUNS = 10
COLOURS = ("red", "green", "blue", "teal", "ochre", "mauve", "grey", "pink")
Score = Callable[[ExamAnswer, random.Random], int | None]


def items(documents: int = 20, per_document: int = 2) -> list[ItemLine]:
    """Answers of a name, a number and some words, each document's its own."""
    return [
        ItemLine.model_validate(
            {
                "id": f"i-{document}-{number}",
                "doc_id": f"doc-{document}",
                "question": f"Who painted door {number} of house {document}, and when?",
                "answer": f"Name{chr(65 + document)}{chr(97 + number)} chose "
                + " ".join(COLOURS[(document * k + number) % 8] for k in range(1, 4))
                + f" in the year {1500 + 13 * document + number}"
                + " and was paid for it" * (document % 3),
            }
        )
        for document in range(documents)
        for number in range(per_document)
    ]


def perfect(answer: ExamAnswer, _: random.Random) -> int:
    return {2: 5, 1: 3, 0: 1}[answer.level if answer.level is not None else 2]


def at_random(_: ExamAnswer, draw: random.Random) -> int:
    return draw.randint(*SCALE)


def constant(_: ExamAnswer, __: random.Random) -> int:
    return 4


def lover_of_length(answer: ExamAnswer, _: random.Random) -> int:
    return max(1, min(5, len(answer.answer.split()) // 4))


def gullible(answer: ExamAnswer, draw: random.Random) -> int:
    return 5 if answer.kind == "injected" else perfect(answer, draw)


def silent(_: ExamAnswer, __: random.Random) -> None:
    return None


def judged(answer: ExamAnswer, score: Score, *, runs: int = RUNS) -> Judgment:
    draw = random.Random(answer.id)
    said = [score(answer, draw) for _ in range(runs)]
    read = [one for one in said if one is not None]
    lost = runs - len(read)
    return Judgment(
        runs=runs,
        scores=read,
        unparsable=lost,
        mean=fmean(read) if read else None,
        spread=pstdev(read) if read else None,
        low=(sum(read) + lost * SCALE[0]) / runs,
        high=(sum(read) + lost * SCALE[1]) / runs,
    )
