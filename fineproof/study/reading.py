"""Folders of ``fineproof experiment run``, read and held against each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pydantic import ValidationError

from fineproof.data.reading import TRAIN, sha256_of
from fineproof.errors import UserError
from fineproof.study.scores import Answers, answers_of
from services.common.contracts.arms import ArmAsk
from services.common.contracts.evaluator import AnswerRow, Report
from services.common.contracts.generator import Condition

REPORT, ROWS = "report.json", "rows.jsonl"
_SAME_GROUND = ("sampling", "retrieval", "baseline")


@dataclass(frozen=True)
class Run:
    """An experiment: its report, and its answers under the condition of the study.

    ``training_sha256`` is that of the training rows beside the report, None where they are not
    there.
    """

    folder: Path
    report: Report
    answers: Answers
    training_sha256: str | None

    @property
    def dataset(self) -> str:
        return self.report.dataset.name

    @property
    def baseline(self) -> str:
        return self.report.spec.baseline

    @property
    def model(self) -> str:
        """The base model: what answered for the baseline."""
        return next(arm.model for arm in self.report.arms if arm.name == self.baseline)

    @property
    def tuned(self) -> list[ArmAsk]:
        return [arm for arm in self.report.spec.arms if arm.name != self.baseline]

    @property
    def metrics(self) -> list[str]:
        """The declared ones: where a judge did not pass its exam, its stand-in among them."""
        return self.report.primary_metrics


def read_runs(folders: Sequence[Path], condition: Condition) -> list[Run]:
    """Read finished experiments, data set by data set. Raises :class:`UserError`, which names the
    folder and what it lacks, or the two that cannot stand in one study."""
    runs = [read_run(folder, condition) for folder in folders]
    for one, other in combinations(runs, 2):
        _comparable(one, other)
    datasets = list(dict.fromkeys(run.dataset for run in runs))
    return sorted(runs, key=lambda run: datasets.index(run.dataset))


def read_run(folder: Path, condition: Condition) -> Run:
    report = read_report(folder)
    if condition not in report.conditions:
        asked = ", ".join(report.conditions)
        raise UserError(
            f"{folder} was not asked under '{condition}', only under {asked}: --condition names "
            "the one to study."
        )
    rows = [row for row in _rows(folder, report) if row.condition == condition]
    train = folder / "data" / TRAIN
    return Run(
        folder=folder,
        report=report,
        answers=answers_of(rows),
        training_sha256=sha256_of(train) if train.is_file() else None,
    )


def read_report(folder: Path) -> Report:
    """The report of a finished experiment. Raises :class:`UserError`."""
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}; name one that `experiment run` has written.")
    for name in (REPORT, ROWS):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} has no {name}: its experiment has not ended, or it is not a folder of "
                "`fineproof experiment run`."
            )
    path = folder / REPORT
    try:
        report = Report.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(f"{path} cannot be read as a report: {_reason(error)}.") from error
    if all(arm.name != report.spec.baseline for arm in report.arms):
        raise UserError(f"{path} does not say which model its baseline is.")
    return report


def _rows(folder: Path, report: Report) -> Iterator[AnswerRow]:
    """Every answer, of all conditions. Raises :class:`UserError`, also when some are missing."""
    path, found = folder / ROWS, 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    row = AnswerRow.model_validate_json(line)
                except ValidationError as error:
                    raise UserError(
                        f"{path}, line {number} is no answer: {_reason(error)}."
                    ) from error
                if row.experiment_id != report.experiment_id:
                    raise UserError(
                        f"{path}, line {number} is of {row.experiment_id}, and {REPORT} beside it "
                        f"of {report.experiment_id}: run the experiment again."
                    )
                found += 1
                yield row
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    if found != report.counts.answers:
        raise UserError(
            f"{path} holds {found} answers where {REPORT} tells of {report.counts.answers}: run "
            "the experiment again, which fetches what is missing."
        )


def _reason(error: OSError | ValidationError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def _comparable(one: Run, other: Run) -> None:
    both = f"{one.folder} and {other.folder}"
    if one.report.spec.statistics != other.report.spec.statistics:
        raise UserError(
            f"{both} were weighed by other `statistics`, so nothing can be corrected over both; "
            "run them by one specification."
        )
    if one.dataset != other.dataset:
        return
    if one.model == other.model:
        raise UserError(
            f"{both} are both of {one.model} on '{one.dataset}': name one of them, or give the "
            "other's data a name of its own."
        )
    if one.report.dataset.sha256 != other.report.dataset.sha256:
        raise UserError(
            f"{both} are both on '{one.dataset}', but their test questions differ: run them with "
            "the same --items of the same data."
        )
    for name in _SAME_GROUND:
        if getattr(one.report.spec, name) != getattr(other.report.spec, name):
            raise UserError(
                f"{both} differ in `{name}`, so their scores on '{one.dataset}' cannot be "
                "compared; run them by one specification."
            )
    if one.report.prompt_template_sha256 != other.report.prompt_template_sha256:
        raise UserError(
            f"{both} were asked with other prompts, by other versions of fineproof: run the older "
            "one again."
        )
    _same_items(one, other, both)


def _same_items(one: Run, other: Run, both: str) -> None:
    """Equal test files may still be cut into documents by another corpus."""
    for item, mine in one.answers.items.items():
        if (theirs := other.answers.items.get(item)) is not None and theirs != mine:
            raise UserError(
                f"{both} disagree on item '{item}', its question or the document it is from: they "
                "were not made from the same data."
            )
