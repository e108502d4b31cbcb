from services.common.db import run_migrations
from services.retriever.models import Base

run_migrations(Base.metadata)
