"""Alembic's environment of the schema ``evaluator``."""

from services.common.db import run_migrations
from services.evaluator.models import Base

run_migrations(Base.metadata)
