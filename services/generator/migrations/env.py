from services.common.db import run_migrations
from services.generator.models import METADATA

run_migrations(METADATA)
