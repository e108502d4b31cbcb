"""The last phase: statistics over the answers kept, and the report in all its forms."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from services.common.contracts.evaluator import Report
from services.common.errors import UpstreamFailed
from services.evaluator import storage
from services.evaluator.environment import environment
from services.evaluator.figures import forest_svg
from services.evaluator.models import Answer, Item
from services.evaluator.phases.proving import ProvenArm
from services.evaluator.rendering import render_html, render_markdown
from services.evaluator.report import Measured, MeasuredAnswer, MeasuredItem, build_report
from services.evaluator.run import Run
from services.evaluator.service import condition_of, folder_of


async def measure(run: Run, arms: Sequence[ProvenArm]) -> Report:
    """Build the report, put its forms into the artifact store, and complete the experiment.

    Raises ``nothing_answered`` when not one answer came.
    """
    await run.enter("measuring", done=0, total=1)
    started = time.monotonic()
    report = await asyncio.to_thread(_report, run, arms)
    report.timings["measuring"] = round(time.monotonic() - started, 3)
    await asyncio.to_thread(_render, run, report)
    await run.write(lambda session: _complete(session, run, report))
    return report


def _report(run: Run, arms: Sequence[ProvenArm]) -> Report:
    with run.transaction() as session:
        experiment = storage.find(session, run.experiment_id)
        timings = dict(experiment.timings) if experiment else {}
        count = storage.count_items(session, run.experiment_id)
        items = [_item(item) for item in storage.items(session, run.experiment_id, 0, count)]
        answers = [_answer(a) for a in storage.answers(session, run.experiment_id)]
    if all(answer.failed for answer in answers):
        raise UpstreamFailed("Not one question was answered.", code="nothing_answered")
    return build_report(
        Measured(
            experiment_id=run.experiment_id,
            created_at=run.created_at,
            name=run.name,
            spec=run.spec,
            dataset_sha256=run.dataset_sha256,
            arms=arms,
            proofs=[arm.proof for arm in arms if arm.proof is not None],
            items=items,
            answers=answers,
            timings={phase: round(seconds, 3) for phase, seconds in timings.items()},
            environment=environment(),
        )
    )


def _item(item: Item) -> MeasuredItem:
    return MeasuredItem(
        item_id=item.item_id,
        cluster=item.cluster,
        evidence_ids=item.evidence_ids,
        retrieved=[passage["id"] for passage in item.retrieved],
        oracle=[passage["id"] for passage in item.oracle],
    )


def _answer(answer: Answer) -> MeasuredAnswer:
    return MeasuredAnswer(
        item_id=answer.item_id,
        arm=answer.arm,
        condition=condition_of(answer),
        scores=answer.scores,
        finish_reason=answer.finish_reason,
        left_out=len(answer.left_out),
        failed=answer.error is not None,
    )


def _render(run: Run, report: Report) -> None:
    forest = forest_svg(report)
    for name, content in (
        ("report.json", report.model_dump_json(indent=2)),
        ("report.md", render_markdown(report)),
        ("report.html", render_html(report, forest)),
        ("forest.svg", forest),
    ):
        run.artifacts.write_bytes(f"{folder_of(run.experiment_id)}/{name}", content.encode())


def _complete(session: Session, run: Run, report: Report) -> None:
    storage.set_fields(
        session,
        run.experiment_id,
        status="completed",
        phase="done",
        done=1,
        seconds_left=None,
        finished_at=datetime.now(UTC),
        timings=report.timings,
        headline=report.headline,
        report=report.model_dump(mode="json"),
        lease_owner=None,
        lease_expires_at=None,
    )
