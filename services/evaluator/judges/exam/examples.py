"""Training examples for a judge: its own serving prompt, and the score as the completion."""

import json
import random
from collections.abc import Iterator, Sequence

from services.common.contracts.exam import PLAIN_STEPS, ExamplesCreate
from services.common.errors import InvalidRequest
from services.evaluator.judges.criteria import BUILT_IN
from services.evaluator.judges.exam.building import LEVELS, ExamAnswer, build
from services.evaluator.judges.exam.figures import placed
from services.evaluator.judges.exam.sitting import subject_of
from services.evaluator.judges.prompts import form
from services.evaluator.schemas import ItemLine


def example_lines(items: Sequence[ItemLine], ask: ExamplesCreate) -> Iterator[bytes]:
    """Chats as JSON lines, in an order drawn by the seed: right answers get the highest score of
    the scale, wrong ones the lowest, and those cut short the middle one.

    ``InvalidRequest`` where all would get the same score: from short answers no wrong one can be
    made that is plainly beside the point.
    """
    paper = build(items, seed=ask.seed, max_items=ask.max_items, wording="training")
    answers = [answer for answer in paper.answers if placed(answer, ask.metric)]
    if len({answer.level for answer in answers}) < 2:
        raise InvalidRequest(
            f"These items make no wrong answers by {ask.metric}, and a judge that saw right ones "
            "alone would learn one score. Take a file with more items, or with longer answers.",
            code="no_wrong_answers",
            param="file_id",
        )
    random.Random(ask.seed).shuffle(answers)  # noqa: S311 - an order is no secret
    return _lines(answers, ask)


def _lines(answers: Sequence[ExamAnswer], ask: ExamplesCreate) -> Iterator[bytes]:
    criterion = BUILT_IN[ask.metric]
    steps = tuple(ask.steps or PLAIN_STEPS[ask.metric])
    span, top = criterion.highest - criterion.lowest, max(LEVELS.values())
    for answer in answers:
        score = criterion.lowest + span * LEVELS[answer.kind] // top
        messages = [
            *form(criterion, steps, subject_of(answer, criterion)),
            {"role": "assistant", "content": str(score)},
        ]
        yield json.dumps({"messages": messages}, ensure_ascii=False).encode() + b"\n"
