"""The world of an eval's run."""

from tests.services.evaluator.evals.conftest import app, bench, database_url, http, migrated, world

__all__ = ["app", "bench", "database_url", "http", "migrated", "world"]
