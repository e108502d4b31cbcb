"""The one way to vectors, whoever computes them."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self

from services.retriever.chunking import Word
from services.retriever.embedding.batching import Batching, Vectors
from services.retriever.embedding.loading import Loading
from services.retriever.embedding.local import LocalModel
from services.retriever.embedding.remote import RemoteModel
from services.retriever.settings import RetrieverSettings

# HNSW's limit for halfvec: https://github.com/pgvector/pgvector#hnsw
MOST_DIMENSIONS = 4_000


class Model(Protocol):
    """``identity`` is the same for the same model, wherever it runs: what vectors are kept by.

    ``reads`` counts the tokens of a text that have a part in its vector.
    """

    @property
    def identity(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    @property
    def reads(self) -> int: ...

    def words(self, texts: Sequence[str]) -> list[list[Word]]:
        """The words of each text as the model's tokenizer sees them."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, shape ``(len(texts), dimensions)``."""

    def close(self) -> None: ...


class Embedder(Loading[Model]):
    """The embedding model of this process.

    ``shared``, one thread embeds for all others: what they ask while it is busy goes through the
    model together, at most ``batch_size`` texts at once.
    """

    def __init__(
        self,
        name: str,
        opening: Callable[[], Model],
        *,
        shared: bool = False,
        batch_size: int = 32,
    ) -> None:
        super().__init__("embedding model", opening)
        self.name = name
        self._batching = (
            Batching(lambda texts: self.check().embed(texts), size=batch_size) if shared else None
        )

    @classmethod
    def from_settings(
        cls, settings: RetrieverSettings, *, threads: int | None, shared: bool = False
    ) -> Self:
        """By ``embedding_url`` where there is one, else in this process with ``threads``."""

        def opened() -> Model:
            remote = settings.embedding_url is not None
            return _indexable(
                RemoteModel(settings) if remote else LocalModel(settings, threads=threads)
            )

        # Of a folder its own name: callers see it, and learn no path from it.
        folder = Path(settings.embedding_model)
        return cls(
            folder.name if folder.is_dir() else settings.embedding_model,
            opened,
            shared=shared,
            batch_size=settings.embedding_batch_size,
        )

    @cached_property
    def identity(self) -> str:
        return self.check().identity

    @cached_property
    def dimensions(self) -> int:
        return self.check().dimensions

    @property
    def reads(self) -> int:
        return self.check().reads

    def words(self, texts: Sequence[str]) -> list[list[Word]]:
        return self.check().words(texts)

    def embed(self, texts: Sequence[str]) -> Vectors:
        model = self.check()
        return self._batching.embed(texts) if self._batching else model.embed(texts)

    def close(self) -> None:
        super().close()
        if self._batching is not None:
            self._batching.close()
        if self._model is not None:
            self._model.close()


def _indexable(model: Model) -> Model:
    if model.dimensions > MOST_DIMENSIONS:
        raise ValueError(
            f"its vectors have {model.dimensions:,} dimensions, and no more than "
            f"{MOST_DIMENSIONS:,} can be indexed; take a smaller model"
        )
    return model
