"""What an experiment will take, before anything of it is asked of a model."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from scipy.stats import norm

from services.common.contracts.budget import Estimate, SmallestEffect, Spent
from services.common.contracts.evaluator import Comparison, ExperimentCreate
from services.common.contracts.generator import Condition
from services.common.contracts.retriever import BatchQuery, Passage, SearchResult
from services.common.errors import InvalidRequest
from services.common.prompts import PassageText, render_messages
from services.evaluator.items import cluster_of, read_items
from services.evaluator.judges.criteria import criteria_of
from services.evaluator.judges.exam.building import LEVELS
from services.evaluator.metrics.judged import metrics_of
from services.evaluator.panel import MOST_ITEMS as MOST_PANEL_ITEMS
from services.evaluator.panel import of_panel, panel_lines
from services.evaluator.peers import Peers
from services.evaluator.schemas import ItemLine
from services.evaluator.spending import beyond, cost_of
from services.evaluator.statistics.power import MIN_CLUSTERS, smallest_effect
from services.evaluator.statistics.scales import UNIT

LOOKED_AT = 50  # items whose passages are looked up
CHARACTERS_A_TOKEN = 4.0
SECONDS_AN_ANSWER = 1.0  # where no run was measured
JUDGE_PROMPT_TOKENS = 400  # a form's instructions and steps
JUDGE_FORM_TOKENS = 8  # one form filled in


@dataclass(frozen=True)
class Sized:
    """The data of an experiment: ``documents`` are the items of each, ``prompts`` the average
    characters of a prompt under each condition, ``answerable`` the items with gold passages,
    ``panel`` the characters of each prompt of the forgetting panel."""

    items: int
    documents: Sequence[int]
    answerable: int
    prompts: Mapping[Condition, float]
    answer_characters: float
    panel: Sequence[int] = ()


@dataclass(frozen=True)
class PastRun:
    """A completed experiment; ``seconds`` are those of its answering."""

    max_tokens: int
    seconds: float
    spent: Spent
    comparisons: Sequence[Comparison]


@dataclass(frozen=True)
class Past:
    """Earlier runs here: seconds an answer took, tokens of an answer at the same ``max_tokens``;
    None where there are none. ``deviations`` are an item's paired difference's by metric, the
    largest found: a 95 % interval's half width over 1.96, times √items."""

    seconds_an_answer: float | None = None
    completion_tokens: float | None = None
    deviations: Mapping[str, float] = field(default_factory=dict)


def past_of(runs: Sequence[PastRun], *, max_tokens: int) -> Past:
    """What completed experiments tell of the next; those that asked nothing anew tell no pace."""
    asked = [run for run in runs if run.spent.asked]
    alike = [run for run in asked if run.max_tokens == max_tokens]
    spread: dict[str, list[float]] = {}
    for run in runs:
        for compared in run.comparisons:
            low, high = compared.ci95
            if compared.clusters >= MIN_CLUSTERS and high > low:
                error = (high - low) / (2 * norm.ppf(0.975))
                spread.setdefault(compared.metric, []).append(error * math.sqrt(compared.n))
    return Past(
        seconds_an_answer=sum(run.seconds for run in asked) / sum(run.spent.asked for run in asked)
        if asked
        else None,
        completion_tokens=sum(run.spent.completion_tokens for run in alike)
        / sum(run.spent.asked for run in alike)
        if alike
        else None,
        deviations={metric: max(values) for metric, values in spread.items()},
    )


async def size(ask: ExperimentCreate, peers: Peers, *, most_items: int) -> Sized:
    """Read the items, and look up the passages of the first ``LOOKED_AT``."""
    async with peers.trainer.file_lines(ask.dataset.file_id) as lines:
        items = await read_items(lines, most=most_items)
    looked = items[:LOOKED_AT]
    found: list[list[SearchResult]] = []
    if {"retrieved", "distractors"} & set(ask.conditions):
        found = await peers.retriever.search_batch(
            ask.vector_store_id,
            [BatchQuery(query=item.question) for item in looked],
            max_num_results=ask.retrieval.max_num_results,
        )
    stored = await _stored(ask, items, peers)
    documents = Counter(cluster_of(item, stored) for item in items)
    return Sized(
        items=len(items),
        documents=list(documents.values()),
        answerable=sum(bool(item.evidence_ids) for item in items),
        prompts={name: fmean(_characters(name, looked, found, stored)) for name in ask.conditions},
        answer_characters=fmean(len(item.answer) for item in looked),
        panel=_characters("closed_book", await _panel(ask, peers), (), {}),
    )


async def _panel(ask: ExperimentCreate, peers: Peers) -> Sequence[ItemLine]:
    if ask.forgetting is None:
        return ()
    try:
        async with panel_lines(ask.forgetting, peers) as lines:
            return await read_items(lines, most=MOST_PANEL_ITEMS)
    except InvalidRequest as error:
        raise of_panel(error) from error


async def _stored(
    ask: ExperimentCreate, items: Sequence[ItemLine], peers: Peers
) -> dict[str, Passage]:
    """Gold passages of the items looked at, and one of each whose document it alone tells."""
    wanted = dict.fromkeys(
        evidence
        for number, item in enumerate(items)
        for evidence in (
            item.evidence_ids
            if number < LOOKED_AT
            else item.evidence_ids[: 1 if item.doc_id is None else 0]
        )
        # An id the wire cannot carry names no passage.
        if "/" not in evidence and len(evidence) <= 200
    )
    stored: dict[str, Passage] = {}
    ids = list(wanted)
    for start in range(0, len(ids), 1_000):
        some = ids[start : start + 1_000]
        answer = await peers.retriever.passages(ask.vector_store_id, some)
        stored.update((passage.id, passage) for passage in answer.data)
    return stored


def _characters(
    condition: Condition,
    items: Sequence[ItemLine],
    found: Sequence[Sequence[SearchResult]],
    stored: Mapping[str, Passage],
) -> list[int]:
    given: list[Sequence[PassageText]] = [() for _ in items]
    if condition == "oracle":
        given = [[stored[e] for e in item.evidence_ids if e in stored] for item in items]
    elif condition != "closed_book":
        given = list(found)
    return [
        sum(len(message["content"]) for message in render_messages(item.question, passages))
        for item, passages in zip(items, given, strict=True)
    ]


def estimate(ask: ExperimentCreate, sized: Sized, before: Past) -> Estimate:
    """Pure: the figures, and sentences on how they were come by."""
    said = [f"a token is {CHARACTERS_A_TOKEN:g} characters, of the first {LOOKED_AT} items"]
    each = {
        name: (sized.answerable if name == "oracle" else sized.items) * ask.sampling.repeats
        for name in ask.conditions
    }
    models = {
        arm.name: len(arm.tune.seeds) if arm.tune and arm.tune.trains else 1 for arm in ask.arms
    }
    completion = before.completion_tokens
    if completion is None:
        completion = float(ask.sampling.max_tokens)
        said.append(f"every answer takes all of max_tokens, {ask.sampling.max_tokens}")
    else:
        said.append(f"an answer has {completion:.0f} tokens, as in past runs with this max_tokens")
    prompts = sum(each[name] * sized.prompts[name] for name in ask.conditions) + sum(sized.panel)
    prompts /= CHARACTERS_A_TOKEN
    answers = sum(each.values()) + len(sized.panel)
    per_arm = {
        name: (round(prompts * count), round(completion * answers * count))
        for name, count in models.items()
    }
    seconds = before.seconds_an_answer
    if seconds is None:
        seconds = SECONDS_AN_ANSWER
        said.append(f"an answer takes {seconds:g} s, for no run was measured here yet")
    else:
        said.append(f"an answer takes {seconds:.3g} s, as in past runs")
    asked = answers * sum(models.values())
    judge_prompts, judge_forms = _judge_tokens(ask, sized, each, models, said)
    if any(arm.tune and arm.tune.trains for arm in ask.arms):
        said.append("training is not in it; POST /v1/fine_tuning/estimate says what it takes")
    cost = _cost(ask, per_arm, judge_prompts, judge_forms)
    tokens = sum(map(sum, per_arm.values())) + judge_prompts + judge_forms
    minutes = asked * seconds / 60
    return Estimate(
        spec_sha256=ask.sha256,
        items=sized.items,
        documents=len(sized.documents),
        answers=asked,
        prompt_tokens=sum(prompt for prompt, _ in per_arm.values()),
        completion_tokens=sum(completion for _, completion in per_arm.values()),
        judge_tokens=judge_prompts + judge_forms,
        minutes=round(minutes, 2),
        cost=cost,
        smallest_effects=[_effect(ask, sized, before, metric) for metric in ask.metrics],
        assumptions=said,
        over_budget=beyond(ask.budget, tokens=tokens, cost=cost, minutes=minutes),
    )


def _judge_tokens(
    ask: ExperimentCreate,
    sized: Sized,
    each: Mapping[Condition, int],
    models: Mapping[str, int],
    said: list[str],
) -> tuple[int, int]:
    """Tokens of the judge's prompts and forms: the runs of one form share its prompt.

    It sits its exam first, whose answers are about as long as the references. Passages are in the
    forms of criteria that see them, and without any there is no such form. ``each`` are a model's
    answers under each condition, ``models`` those of each arm; those of tuned arms are seen twice
    beside the baseline's where the judge is to prefer one.
    """
    judge = ask.judge
    if judge is None:
        return 0, 0
    every = sum(models.values())
    seeing = sum("passages" in criterion.sees for criterion in criteria_of(judge))
    grounded = {name: count * every * seeing for name, count in each.items()}
    grounded.pop("closed_book", None)
    examined = min(judge.exam_items, sized.items) * len(LEVELS) * len(judge.names)
    judged = sum(each.values()) * every * (len(judge.names) - seeing) + sum(grounded.values())
    compared = sum(each.values()) * (every - models[ask.baseline])
    preferred = 2 * compared if judge.pairwise else 0
    text = sized.answer_characters / CHARACTERS_A_TOKEN
    passages = sum(count * sized.prompts[name] for name, count in grounded.items())
    said.append(
        f"a judge's form has {JUDGE_PROMPT_TOKENS} tokens beside what is judged, its {judge.runs} "
        f"runs share one prompt, its exam takes up to {examined} forms, and its own time is not in "
        "the minutes"
    )
    return (
        round(
            (examined + judged) * (JUDGE_PROMPT_TOKENS + 2 * text)
            + preferred * (JUDGE_PROMPT_TOKENS + 3 * text)
            + passages / CHARACTERS_A_TOKEN
        ),
        ((examined + judged) * judge.runs + preferred) * JUDGE_FORM_TOKENS,
    )


def _cost(
    ask: ExperimentCreate,
    per_arm: Mapping[str, tuple[int, int]],
    judge_prompts: int,
    judge_forms: int,
) -> float | None:
    priced = [*per_arm.items()]
    if ask.judge is not None:
        priced.append(("judge", (judge_prompts, judge_forms)))
    if any(name not in ask.prices for name, _ in priced):
        return None
    return sum(
        cost_of(ask.prices[name], prompt_tokens=prompt, completion_tokens=completion)
        for name, (prompt, completion) in priced
    )


def _effect(ask: ExperimentCreate, sized: Sized, before: Past, metric: str) -> SmallestEffect:
    known = before.deviations.get(metric)
    conditions = ask.primary_conditions or ask.conditions
    family = (len(ask.arms) - 1) * len(conditions) * len(ask.metrics)
    # What past runs show has the clustering in it already.
    scale = metrics_of(ask)[metric].range or UNIT
    deviation, icc = (scale.deviation, 0.1) if known is None else (known, 0.0)
    effect = smallest_effect(
        sized.documents, deviation=deviation, icc=icc, family=family, alpha=ask.statistics.alpha
    )
    return SmallestEffect(
        metric=metric,
        effect=None if effect is None else round(effect, 4),
        deviation=round(deviation, 4),
        source="worst_case" if known is None else "past_runs",
    )
