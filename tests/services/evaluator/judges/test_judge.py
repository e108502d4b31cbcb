"""A judge is met once, asked once, and judges as G-Eval says."""

import pytest

from services.common.contracts.exam import PLAIN_STEPS
from services.common.errors import FineproofError
from services.evaluator.judges.asking import JudgeChanged
from services.evaluator.judges.judge import Form, Judge
from services.evaluator.judges.prompts import Subject
from tests.services.evaluator.judges.conftest import Meet, Notebook
from tests.services.evaluator.judges.fake import STEPS, FakeJudge

RIGHT = Subject("Which city?", "Oslo.", "It is Oslo.")
WRONG = Subject("Which city?", "Oslo.", "It is Bergen.")
OTHER = Subject("Which city?", "Oslo.", "It is Stavanger.")


def forms(judge: Judge, *subjects: Subject) -> list[Form]:
    return [Form(criterion, subject) for criterion in judge.criteria for subject in subjects]


async def test_ten_runs_are_one_request_held_to_the_scores(met: Meet, fake: FakeJudge) -> None:
    judge = await met(metrics=["accuracy"])
    right, wrong = await judge.score(forms(judge, RIGHT, WRONG))
    assert (right.mean, right.runs, right.spread) == (5.0, 10, 0.0)
    assert wrong.mean == 1.0
    assert right.weighted == pytest.approx(0.75 * 5 + 0.25 * 1)
    asked = fake.bodies[-1]
    assert asked["n"] == 10
    assert asked["temperature"] == 1.0
    assert asked["structured_outputs"] == {"choice": ["1", "2", "3", "4", "5"]}
    assert set(fake.forms.values()) == {1}


async def test_a_judge_of_two_minds_has_a_spread(met: Meet, fake: FakeJudge) -> None:
    fake.spread = (0, -1)
    judge = await met(metrics=["accuracy"])
    (right,) = await judge.score(forms(judge, RIGHT))
    assert right.scores == [5, 4] * 5
    assert (right.mean, right.spread) == (4.5, 0.5)


async def test_evaluation_steps_are_written_once_and_stand_in_every_form(
    met: Meet, fake: FakeJudge
) -> None:
    judge = await met()
    assert [criterion.steps for criterion in judge.criteria] == [tuple(STEPS_READ)] * 2
    await judge.score(forms(judge, RIGHT, WRONG))
    again = await met()
    assert again.sha256 == judge.sha256
    steps = [body for body in fake.bodies if body["messages"][-1]["content"].endswith("steps:")]
    assert len(steps) == 2
    assert all("\n".join(STEPS.splitlines()) in prompt for prompt in fake.forms)
    (accuracy, _) = judge.read_out()
    assert accuracy.generated
    assert len(accuracy.steps_sha256) == 64


STEPS_READ = ["Read the answer.", "Compare it with the reference.", "Score it."]


@pytest.mark.parametrize("written", ["1", "5\n", "1. 5\n2. 1", ""])
async def test_a_judge_that_writes_no_steps_judges_by_plain_ones(
    met: Meet, fake: FakeJudge, written: str
) -> None:
    fake.steps = written
    judge = await met(metrics=["accuracy"], rubrics=[{"name": "tone", "criterion": "Polite?"}])
    assert [one.steps for one in judge.criteria] == [tuple(PLAIN_STEPS["accuracy"]), ()]
    assert not any(one.generated for one in judge.read_out())
    trained = await met(metrics=["accuracy"], steps={"accuracy": PLAIN_STEPS["accuracy"]})
    assert trained.read_out() == judge.read_out()[:1]


async def test_declared_steps_are_taken_as_they_are(met: Meet, fake: FakeJudge) -> None:
    judge = await met(metrics=["accuracy"], steps={"accuracy": ["Look.", "Score."]})
    assert judge.criteria[0].steps == ("Look.", "Score.")
    assert not judge.read_out()[0].generated
    assert len(fake.bodies) == 1  # the trial


async def test_what_was_judged_is_not_asked_again(
    met: Meet, fake: FakeJudge, notebook: Notebook
) -> None:
    judge = await met(metrics=["accuracy"])
    first = await judge.score(forms(judge, RIGHT, WRONG, RIGHT))
    assert set(fake.forms.values()) == {1}
    second = await (await met(metrics=["accuracy"])).score(forms(judge, RIGHT, WRONG, RIGHT))
    assert set(fake.forms.values()) == {1}
    assert first == second


async def test_what_makes_another_judge_makes_another_hash(met: Meet, fake: FakeJudge) -> None:
    hashes = {(await met(**({"metrics": ["accuracy"]} | changes))).sha256 for changes in CHANGES}
    fake.adapter_sha256 = "ab" * 32
    hashes.add((await met(metrics=["accuracy"])).sha256)
    for fake.base_revision in ("sha256:ab", "sha256:cd"):
        hashes.add((await met(metrics=["accuracy"])).sha256)
    assert len(hashes) == len(CHANGES) + 3


async def test_a_base_model_of_other_weights_is_another_judge(met: Meet, fake: FakeJudge) -> None:
    fake.base_revision = "sha256:ab"
    judge = await met(metrics=["accuracy"])
    await judge.score(forms(judge, RIGHT))
    fake.base_revision = None  # a generator that was restarted has not read its weights yet
    await judge.score(forms(judge, WRONG))
    fake.base_revision = "sha256:cd"
    with pytest.raises(ExceptionGroup) as raised:
        await judge.score(forms(judge, OTHER))
    told = r"is now a base model sha256:cd, but it was a base model sha256:ab"
    assert raised.group_contains(JudgeChanged, match=told)


CHANGES: list[dict[str, object]] = [
    {},
    {"model": "another"},
    {"runs": 5},
    {"temperature": 0.5},
    {"seed": 1},
    {"metrics": ["completeness"]},
    {"steps": {"accuracy": ["Look."]}},
]


async def test_the_better_answer_is_asked_for_in_both_orders(met: Meet, fake: FakeJudge) -> None:
    judge = await met(metrics=["accuracy"])
    short = Subject("Which city?", "Oslo.", "Oslo.")
    one, other, tie = await judge.prefer(
        [(short, "It is Oslo."), (RIGHT, "Oslo."), (short, "Rome.")]
    )
    assert (one.better, other.better, tie.better) == ("arm", "baseline", None)
    assert not tie.disagreed
    fake.preference = lambda _: "A"
    (by_order,) = await judge.prefer([(RIGHT, "Oslo, it is said.")])
    assert (by_order.better, by_order.disagreed) == (None, True)


@pytest.mark.parametrize(
    ("server", "constraint", "many", "logprobs"),
    [
        ({}, "choice", True, True),
        ({"knows": frozenset({"response_format"})}, "schema", True, True),
        ({"knows": frozenset({"response_format"}), "tells": False}, "schema", True, False),
        (
            {"knows": frozenset({"response_format"}), "tells": False, "one_only": True},
            "schema",
            False,
            False,
        ),
        ({"knows": frozenset()}, "none", True, True),
        ({"knows": frozenset(), "one_only": True, "tells": False}, "none", False, False),
    ],
)
async def test_a_judge_is_asked_in_the_best_manner_its_server_takes(
    met: Meet,
    fake: FakeJudge,
    server: dict[str, object],
    constraint: str,
    many: bool,
    logprobs: bool,
) -> None:
    for name, value in server.items():
        setattr(fake, name, value)
    judge = await met(metrics=["accuracy"], steps={"accuracy": ["Look."]})
    assert (judge.manner.constraint, judge.manner.many, judge.manner.logprobs) == (
        constraint,
        many,
        logprobs,
    )
    right, wrong = await judge.score(forms(judge, RIGHT, WRONG))
    assert (right.mean, wrong.mean) == (5.0, 1.0)
    assert (len(right.scores), len(wrong.scores)) == (10, 10)
    assert (right.weighted is not None) == logprobs


@pytest.mark.parametrize(("knows", "constraint"), [({"response_format"}, "schema"), ({}, "none")])
async def test_a_judge_that_reasons_is_given_room_and_asked_for_nothing_it_refuses(
    met: Meet, fake: FakeJudge, knows: set[str], constraint: str
) -> None:
    fake.reasons, fake.knows = True, frozenset(knows)
    judge = await met(metrics=["accuracy"])
    assert (judge.manner.constraint, judge.manner.reasons) == (constraint, True)
    assert judge.criteria[0].steps == tuple(STEPS_READ)
    right, wrong = await judge.score(forms(judge, RIGHT, WRONG))
    assert (right.mean, wrong.mean, right.weighted, right.runs) == (5.0, 1.0, None, 10)
    (preferred,) = await judge.prefer([(RIGHT, "Oslo.")])
    assert preferred.better == "baseline"


async def test_a_judge_that_takes_max_tokens_is_never_asked_to_reason(
    met: Meet, fake: FakeJudge
) -> None:
    fake.opinion = lambda _: "I would rather talk."
    judge = await met(metrics=["accuracy"], steps={"accuracy": ["Look."]})
    assert not judge.manner.reasons
    assert not any("max_completion_tokens" in body for body in fake.bodies)


async def test_a_judge_that_cannot_be_asked_at_all_says_why(met: Meet, fake: FakeJudge) -> None:
    fake.fault = "refused"
    with pytest.raises(FineproofError, match="too long"):
        await met()


async def test_a_rubric_is_scored_on_its_scale(met: Meet, fake: FakeJudge) -> None:
    fake.opinion = lambda _: 2
    tone = {"name": "tone", "criterion": "Polite?", "scale": [0, 2], "steps": ["Listen."]}
    judge = await met(metrics=[], rubrics=[tone])
    (made,) = await judge.score(forms(judge, RIGHT))
    assert made.mean == 2.0
    assert fake.bodies[-1]["structured_outputs"] == {"choice": ["0", "1", "2"]}


async def test_faithfulness_says_nothing_of_answers_without_passages(met: Meet) -> None:
    judge = await met(metrics=["faithfulness"])
    given = Subject("Which city?", "Oslo.", "Oslo.", passages=["Oslo is the capital."])
    assert [form.applies for form in forms(judge, RIGHT, given)] == [False, True]
