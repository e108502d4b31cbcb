"""What to try when tuning HURTS: from why answers were lost and how the arm was made. Pure.

========================================  =======================================================
what is seen                              what is tried
========================================  =======================================================
recipe ``qa`` hurts where passages are    ``rag``: the retrieved passages in the training prompt
passages ignored, overridden or missed,   ``raft``: gold among distractors, left out of a share of
at a share of losses, by ``rag``          prompts, the answer quoted (Zhang et al. 2024)
retrieval missed at that share            more passages, for every arm
hurts closed book, forgets, or overrides  fewer epochs, an earlier checkpoint, a smaller rank:
what it reads                             less of the base is written over (Biderman et al. 2024)
answers cut short at that share           more tokens
========================================  =======================================================
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from services.common.contracts.arms import ArmAsk
from services.common.contracts.evaluator import Comparison, Report
from services.common.contracts.findings import Action, Cause, Losses, Remedy

_SHARE = 0.25  # of an arm's losses, from which a cause is worth acting on
_LEAST_RANK = 8


def advise(report: Report) -> list[Remedy]:
    """What to try for each arm of a report that hurts."""
    recipes = {arm.name: arm.recipe for arm in report.arms}
    panel = report.forgetting.comparisons if report.forgetting is not None else []
    forgetful = {compared.arm for compared in panel if compared.verdict == "HURTS"}
    return [
        remedy
        for arm in report.spec.arms
        for remedy in remedies(
            arm,
            recipes.get(arm.name),
            report.comparisons,
            report.losses,
            forgets=arm.name in forgetful,
        )
    ]


def remedies(
    arm: ArmAsk,
    recipe: str | None,
    comparisons: Sequence[Comparison],
    losses: Sequence[Losses],
    *,
    forgets: bool = False,
) -> list[Remedy]:
    """What to try for an arm, most promising first; nothing where it hurts nothing declared.

    ``comparisons`` are the declared ones and ``losses`` those of this arm; ``forgets`` when the
    forgetting panel says HURTS.
    """
    hurts = [c for c in comparisons if c.primary and c.arm == arm.name and c.verdict == "HURTS"]
    if not hurts and not forgets:
        return []
    causes: Counter[Cause] = Counter()
    for found in losses:
        if found.arm == arm.name:
            causes.update(found.causes)
    seen = _Seen(causes)
    read = [c.condition for c in hurts if c.condition != "closed_book"]
    knows_less = forgets or any(c.condition == "closed_book" for c in hurts)
    made = [
        *_recipes(recipe, sorted(set(read)), seen),
        *_gentler(arm, seen, forgets=forgets, knows_less=knows_less),
        *_asked_better(seen),
    ]
    return [
        Remedy(arm=arm.name, action=action, advice=advice, because=because)
        for action, advice, because in made
    ]


_Made = tuple[Action, str, str]


class _Seen:
    """Why an arm's answers were lost."""

    def __init__(self, causes: Counter[Cause]) -> None:
        self._causes = causes
        self._all = causes.total()

    def much(self, *causes: Cause) -> bool:
        return self._all > 0 and self._count(causes) >= _SHARE * self._all

    def say(self, *causes: Cause) -> str:
        return f"{self._count(causes)} of {self._all} lost answers: {' or '.join(causes)}"

    def _count(self, causes: Sequence[Cause]) -> int:
        return sum(self._causes[cause] for cause in causes)


def _recipes(recipe: str | None, read: Sequence[str], seen: _Seen) -> Iterator[_Made]:
    unread: tuple[Cause, ...] = ("context_ignored", "parametric_override", "retrieval_missed")
    if recipe == "qa" and read:
        yield (
            "recipe_rag",
            "Tune with recipe `rag`, whose training prompts hold the retrieved passages.",
            f"It saw bare questions and hurts {', '.join(read)}.",
        )
    if recipe in ("qa", "rag") and seen.much(*unread):
        yield (
            "recipe_raft",
            "Tune with recipe `raft`: gold among distractors, left out of a share of prompts, and "
            "answers that quote it.",
            f"{seen.say(*unread)}.",
        )


def _gentler(arm: ArmAsk, seen: _Seen, *, forgets: bool, knows_less: bool) -> Iterator[_Made]:
    if not knows_less and not seen.much("parametric_override"):
        return
    because = (
        "It forgets what the base knows."
        if forgets
        else "It hurts closed_book."
        if knows_less
        else f"{seen.say('parametric_override')}."
    )
    tune = arm.tune.hyperparameters if arm.tune is not None else None
    epochs = tune.n_epochs if tune is not None else "auto"
    rank = tune.lora.r if tune is not None else None
    if epochs == "auto" or epochs > 1:
        half = "fewer epochs" if epochs == "auto" else f"{max(1, epochs // 2)} of {epochs} epochs"
        yield "fewer_epochs", f"Tune for {half}.", because
        yield (
            "earlier_checkpoint",
            "Measure an earlier checkpoint as an arm: candidates of a job are listed at "
            "/v1/fine_tuning/jobs/{job}/checkpoints.",
            because,
        )
    if rank is None or rank > _LEAST_RANK:
        smaller = "a smaller rank" if rank is None else f"rank {max(_LEAST_RANK, rank // 2)}"
        yield "smaller_rank", f"Tune with {smaller} (`lora.r`).", because


def _asked_better(seen: _Seen) -> Iterator[_Made]:
    if seen.much("answer_cut_short"):
        yield (
            "more_tokens",
            "Raise `sampling.max_tokens`, or tune on answers as short as those wanted.",
            f"{seen.say('answer_cut_short')}.",
        )
    if seen.much("retrieval_missed"):
        yield (
            "more_passages",
            "Raise `retrieval.max_num_results`, or improve what the retriever finds.",
            f"{seen.say('retrieval_missed')}.",
        )
