"""The last phase: statistics over the answers kept, and the report in all its forms."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from services.common.contracts.evaluator import Report
from services.common.contracts.judge import Judgment, Preferred, ReportJudge
from services.common.contracts.leakage import ReportTraining
from services.common.errors import UpstreamFailed
from services.evaluator import storage
from services.evaluator.environment import environment
from services.evaluator.figures import forest_svg, sizes_svg
from services.evaluator.forgetting import PanelAnswer, forgotten
from services.evaluator.metrics.judged import metrics_of
from services.evaluator.models import Answer, Item
from services.evaluator.phases.attributing import attribute_losses
from services.evaluator.phases.auditing import audit
from services.evaluator.phases.proving import ProvenArm
from services.evaluator.remedies import advise
from services.evaluator.rendering import render_html, render_markdown
from services.evaluator.report import Measured, MeasuredAnswer, MeasuredItem, build_report
from services.evaluator.rows import condition_of
from services.evaluator.run import Run
from services.evaluator.service import folder_of


async def measure(run: Run, arms: Sequence[ProvenArm]) -> Report:
    """Build the report, put its forms into the artifact store, and complete the experiment.

    Raises ``nothing_answered`` when not one answer came.
    """
    await run.enter("measuring", done=0, total=1)
    started = time.monotonic()
    training = await audit(run, arms)
    report = await asyncio.to_thread(_report, run, arms, training)
    report.timings["measuring"] = round(time.monotonic() - started, 3)
    await asyncio.to_thread(_render, run, report)
    await run.write(lambda session: _complete(session, run, report))
    return report


def _report(run: Run, arms: Sequence[ProvenArm], training: Sequence[ReportTraining]) -> Report:
    # Without the lease's lock: it may take longer than a lease, which the heartbeat must renew.
    with run.db.transaction() as session:
        experiment = storage.find(session, run.experiment_id)
        timings = dict(experiment.timings) if experiment else {}
        count = storage.count_items(session, run.experiment_id)
        items = [_item(item) for item in storage.items(session, run.experiment_id, 0, count)]
        judged = storage.judge(session, run.experiment_id)
        answers = [_answer(a) for a in storage.answers(session, run.experiment_id)]
        said = storage.panel(session, run.experiment_id)
    if all(answer.failed for answer in answers):
        raise UpstreamFailed("Not one question was answered.", code="nothing_answered")
    measured = Measured(
        experiment_id=run.experiment_id,
        created_at=run.created_at,
        name=run.name,
        spec=run.spec,
        dataset_sha256=run.dataset_sha256,
        arms=arms,
        proofs=[proof for arm in arms for proof in arm.proofs],
        items=items,
        answers=answers,
        timings={phase: round(seconds, 3) for phase, seconds in timings.items()},
        environment=environment(),
        judge=None if judged is None else ReportJudge.model_validate(judged),
        training=training,
    )
    report = build_report(measured)
    report.forgetting = forgotten(measured, [PanelAnswer.model_validate(one) for one in said])
    metrics = metrics_of(run.spec)
    decide = [metrics[name] for name in report.primary_metrics]
    report.losses = attribute_losses(run, count, decide)
    report.remedies = advise(report)
    return report


def _item(item: Item) -> MeasuredItem:
    return MeasuredItem(
        item_id=item.item_id,
        cluster=item.cluster,
        evidence_ids=item.evidence_ids,
        retrieved=[passage["id"] for passage in item.retrieved],
        oracle=[passage["id"] for passage in item.oracle],
        ranking=item.ranking,
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
        training_seed=answer.training_seed,
        judgments=None
        if answer.judgments is None
        else {name: Judgment.model_validate(one) for name, one in answer.judgments.items()},
        preference=Preferred.model_validate(answer.preference) if answer.preference else None,
    )


def _render(run: Run, report: Report) -> None:
    forest, sizes = forest_svg(report), sizes_svg(report)
    for name, content in (
        ("report.json", report.model_dump_json(indent=2)),
        ("report.md", render_markdown(report)),
        ("report.html", render_html(report, forest, sizes)),
        ("forest.svg", forest),
        *([("sizes.svg", sizes)] if sizes else []),
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
