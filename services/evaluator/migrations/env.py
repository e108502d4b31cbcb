"""Alembic's environment of the schema ``evaluator``."""

from services.common.db import run_migrations
from services.evaluator.evals.models import EvalRow
from services.evaluator.judges.exam.models import ExamRow

metadata = EvalRow.metadata  # one for all tables of the service, once they are imported
assert ExamRow.metadata is metadata

run_migrations(metadata)
