"""A report as runs of MLflow: one for the experiment, one below it for each arm."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fineproof.errors import UserError
from services.common.contracts.evaluator import Comparison, Report, ReportArm

_EXPERIMENT, _ARM = "fineproof.experiment_id", "fineproof.arm"
_PARENT = "mlflow.parentRunId"
_METRICS_AT_ONCE = 1_000  # MLflow's limit of one batch


@dataclass(frozen=True)
class Exported:
    """Where a report went: MLflow's ids."""

    experiment_id: str
    run_id: str
    arms: dict[str, str]


def export(report: Report, documents: Mapping[str, str], *, uri: str, name: str) -> Exported:
    """Write a report to the MLflow at ``uri``, into its experiment ``name``, with ``documents`` as
    files. Written twice, it replaces what it wrote. Raises :class:`UserError`."""
    # Nothing is sent anywhere but to `uri`, and one that is away is told in seconds, not minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise UserError("MLflow is not installed: pip install 'fineproof[tracking]'.") from error
    try:
        return _written(mlflow.MlflowClient(uri), report, documents, name)
    except (MlflowException, OSError) as error:
        said = re.sub(r"//[^/@\s]+@", "//", str(error).partition("\n")[0])  # not its password
        raise UserError(f"MLflow did not take the report: {said}") from error


def _written(client: Any, report: Report, documents: Mapping[str, str], name: str) -> Exported:
    found = client.get_experiment_by_name(name)
    experiment = found.experiment_id if found else client.create_experiment(name)
    whole = _run(
        client, experiment, report, report.name, None, {"fineproof.headline": report.headline}
    )
    _log(client, whole, _settings(report), {})
    for file, content in documents.items():
        client.log_text(whole, content, file)
    arms: dict[str, str] = {}
    for arm in report.arms:
        label = arm.name if arm.training_seed is None else f"{arm.name}-seed{arm.training_seed}"
        tags = {_PARENT: whole, **_tags(report, arm)}
        arms[label] = _run(client, experiment, report, label, label, tags)
        _log(client, arms[label], _made(arm), dict(_figures(report, arm)))
        client.set_terminated(arms[label])
    client.set_terminated(whole)
    return Exported(experiment, whole, arms)


def _run(
    client: Any,
    experiment: str,
    report: Report,
    name: str,
    arm: str | None,
    tags: Mapping[str, str],
) -> str:
    """The run of this report that is there already, or a new one."""
    known = client.search_runs(
        [experiment], f"tags.`{_EXPERIMENT}` = '{report.experiment_id}'", max_results=1_000
    )
    own = next((run for run in known if run.data.tags.get(_ARM) == arm), None)
    every = {_EXPERIMENT: report.experiment_id, **({_ARM: arm} if arm is not None else {}), **tags}
    if own is None:
        made = client.create_run(
            experiment, start_time=report.created_at * 1_000, run_name=name, tags=every
        )
        return str(made.info.run_id)
    for key, value in every.items():
        client.set_tag(own.info.run_id, key, value)
    return str(own.info.run_id)


def _log(client: Any, run: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
    from mlflow.entities import Metric, Param

    now = int(time.time() * 1_000)
    client.log_batch(run, params=[Param(key, value[:6_000]) for key, value in params.items()])
    values = [Metric(key, value, now, 0) for key, value in metrics.items()]
    for start in range(0, len(values), _METRICS_AT_ONCE):
        client.log_batch(run, metrics=values[start : start + _METRICS_AT_ONCE])


def _settings(report: Report) -> dict[str, str]:
    """What was declared, flat: what a run of MLflow's can be searched by."""
    spec = report.spec
    return {
        "dataset": report.dataset.name,
        "dataset_sha256": report.dataset.sha256,
        "items": str(report.dataset.items),
        "clusters": str(report.dataset.clusters),
        "baseline": spec.baseline,
        "conditions": ", ".join(spec.conditions),
        "metrics": ", ".join(report.primary_metrics),
        "prompt_template_sha256": report.prompt_template_sha256,
        **{
            f"{part}.{key}": str(value)
            for part in ("sampling", "retrieval", "statistics")
            for key, value in getattr(spec, part).model_dump(mode="json").items()
        },
    }


def _made(arm: ReportArm) -> dict[str, str]:
    return {
        key: str(value)
        for key, value in arm.model_dump(mode="json").items()
        if key != "name" and value is not None
    }


def _tags(report: Report, arm: ReportArm) -> dict[str, str]:
    """Verdicts are words, which MLflow keeps as tags."""
    return {f"verdict.{one.condition}.{one.metric}": one.verdict for one in _primary(report, arm)}


def _figures(report: Report, arm: ReportArm) -> Iterator[tuple[str, float]]:
    for mean in report.means:
        if mean.arm == arm.name:
            yield f"{mean.condition}/{mean.metric}/mean", mean.mean
    for one in _primary(report, arm):
        low, high = one.ci95
        figures = {
            "diff": one.diff,
            "ci95_low": low,
            "ci95_high": high,
            "p": one.p,
            "p_holm": one.p_holm,
            "n": one.n,
        }
        for figure, value in figures.items():
            if value is not None:
                yield f"{one.condition}/{one.metric}/{figure}", float(value)
    for effect in report.diff_in_diff:
        if effect.arm == arm.name:
            yield f"value_of_retrieval/{effect.metric}/diff_in_diff", effect.estimate


def _primary(report: Report, arm: ReportArm) -> list[Comparison]:
    return [one for one in report.comparisons if one.primary and one.arm == arm.name]
