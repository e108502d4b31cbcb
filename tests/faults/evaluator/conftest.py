"""The judge that misbehaves on demand, and the world of an experiment."""

from tests.services.evaluator.conftest import bench, db, settings, world
from tests.services.evaluator.judges.conftest import fake, met, notebook, time

__all__ = ["bench", "db", "fake", "met", "notebook", "settings", "time", "world"]
