"""Alembic's environment of the schema ``trainer``."""

from services.common.db import run_migrations
from services.trainer.models import Base

run_migrations(Base.metadata)
