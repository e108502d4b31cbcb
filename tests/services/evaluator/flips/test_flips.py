"""The items behind a difference, over HTTP after a run."""

from typing import Any

import httpx
from sqlalchemy import Engine, event

from services.common.clients.evaluator import EvaluatorClient
from services.common.contracts.base import Page
from services.common.contracts.flips import Flip
from tests.services.evaluator.conftest import BAD, DOCUMENTS, PER_DOCUMENT, Bench
from tests.services.evaluator.test_api import URL, created
from tests.services.evaluator.test_api import finished as measured
from tests.services.evaluator.world import BASE


async def finished(http: httpx.AsyncClient, bench: Bench, **changes: Any) -> str:
    """An experiment of one condition."""
    return await measured(http, bench, conditions=["retrieved"], **changes)


async def asked(http: httpx.AsyncClient, experiment: str, **params: Any) -> Page[Flip]:
    response = await http.get(f"{URL}/{experiment}/flips", params=params)
    assert response.status_code == 200, response.text
    return Page[Flip].model_validate_json(response.content)


async def test_losses_come_with_both_answers_and_the_passages_they_were_given(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    """``qa`` reads every third item only, and the base reads all of them."""
    experiment = await finished(http, bench)
    lost = await asked(http, experiment, arm="qa", metric="contains_answer", limit=100)
    assert len(lost.data) == DOCUMENTS * (PER_DOCUMENT - 1)
    assert not lost.has_more
    first = lost.data[0]
    assert (first.condition, first.metric, first.outcome, first.change) == (
        "retrieved",
        "contains_answer",
        "lost",
        -1,
    )
    assert (first.base.model, first.tuned.model) == (BASE, BAD)
    assert first.reference in (first.base.answer or "")
    assert first.tuned.answer == "I do not know."
    assert first.tuned.scores["refusal"] == 1
    assert any(first.reference in passage.text for passage in first.passages)
    assert first.attribution is not None
    assert first.attribution.reason
    gained = await asked(http, experiment, arm="qa", metric="contains_answer", outcome="gained")
    assert gained.data == []
    refusals = await asked(http, experiment, arm="qa", metric="refusal", limit=1)
    assert (refusals.data[0].change, refusals.data[0].outcome) == (1, "lost")
    assert refusals.has_more


async def test_pages_follow_the_size_of_the_change_and_miss_nothing(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    experiment = await finished(http, bench)
    whole = await asked(http, experiment, arm="rag", metric="token_f1", outcome="all", limit=100)
    sizes = [abs(flip.change) for flip in whole.data]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) < len(sizes)  # ties, which a page may end in
    paged: list[Flip] = []
    after = None
    client = EvaluatorClient(http)
    while True:
        page = await client.flips(
            experiment, arm="rag", metric="token_f1", outcome="all", after=after, limit=5
        )
        paged += page.data
        after = page.last_id
        if not page.has_more:
            break
    assert paged == whole.data


async def test_an_item_comes_once_however_often_it_was_asked(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    sampling = {"temperature": 1.0, "repeats": 2}
    experiment = await finished(http, bench, sampling=sampling)
    lost = await asked(http, experiment, arm="qa", metric="contains_answer", limit=100)
    assert len({flip.id for flip in lost.data}) == len(lost.data) > 0


async def test_a_page_is_read_in_a_fixed_number_of_queries(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    experiment = await finished(http, bench)
    counted: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        counted.append(statement)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        few = await asked(http, experiment, arm="qa", limit=1)
        one = len(counted)
        many = await asked(http, experiment, arm="qa", limit=20)
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert len(many.data) > len(few.data)
    assert len(counted) == 2 * one


async def test_what_the_experiment_does_not_have_is_refused(
    http: httpx.AsyncClient, bench: Bench
) -> None:
    experiment = await finished(http, bench)
    wrong: list[tuple[dict[str, Any], str | None]] = [
        ({}, "missing_required_parameter"),
        ({"arm": "base"}, "unknown_arm"),
        ({"arm": "a\x00b"}, "unknown_arm"),
        ({"arm": "qa", "condition": "distractors"}, "unknown_condition"),
        ({"arm": "qa", "metric": "charm"}, "unknown_metric"),
        ({"arm": "qa", "metric": "answer_length"}, "no_better_side"),
        ({"arm": "qa", "after": "nobody"}, None),
        ({"arm": "qa", "after": "a\x00b"}, None),
        ({"arm": "qa", "limit": 0}, None),
    ]
    for params, code in wrong:
        response = await http.get(f"{URL}/{experiment}/flips", params=params)
        assert response.status_code == 400, (params, response.text)
        error = response.json()["error"]
        assert error["message"]
        assert code in (None, error["code"])


async def test_there_are_none_before_the_report(http: httpx.AsyncClient) -> None:
    experiment = await created(http)
    response = await http.get(f"{URL}/{experiment.id}/flips")
    assert response.json()["error"]["code"] == "report_not_ready"
    assert (await http.get(f"{URL}/exp_none/flips")).status_code == 404
