"""The retriever's long work, as Celery calls it."""

from functools import cached_property

from celery import Celery

from services.common.db import Database
from services.retriever import ingestion
from services.retriever.documents import Files
from services.retriever.embedding import Embedder
from services.retriever.settings import RetrieverSettings


class Resources:
    """What one worker process needs, opened at first use: after the fork, never before."""

    def __init__(self, settings: RetrieverSettings) -> None:
        self._settings = settings

    @cached_property
    def db(self) -> Database:
        return Database(self._settings.database_url, pool_size=2)

    @cached_property
    def embedder(self) -> Embedder:
        return Embedder.from_settings(self._settings, threads=self._settings.torch_threads)

    @cached_property
    def files(self) -> Files:
        return Files(self._settings)


def register(app: Celery, resources: Resources) -> None:
    @app.task(name=ingestion.EMBED)  # type: ignore[untyped-decorator]
    def embed_ingestion(ingestion_id: str) -> None:
        ingestion.embed(resources.db, resources.embedder, ingestion_id, source=resources.files)
