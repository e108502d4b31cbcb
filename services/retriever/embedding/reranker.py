"""How well each passage answers a query, read together: a cross-encoder."""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from services.retriever.embedding.loading import Loading
from services.retriever.settings import RetrieverSettings


class CrossEncoder:
    """A sentence-transformers model that gives a pair of texts one number."""

    def __init__(self, settings: RetrieverSettings, *, threads: int | None) -> None:
        import torch
        from sentence_transformers import CrossEncoder as Model

        if threads is not None:
            torch.set_num_threads(threads)
        self._model: Any = Model(settings.reranking_model, device=settings.embedding_device)
        if self._model.num_labels != 1:
            raise ValueError(f"it gives a pair {self._model.num_labels} numbers instead of one")
        self._batch_size = settings.embedding_batch_size
        self._sigmoid = torch.nn.Sigmoid()
        # The Rust tokenizer raises "Already borrowed" when two threads use it at once.
        self._lock = threading.Lock()

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """From 0 to 1, whatever the model's own last step is."""
        with self._lock:
            scores = self._model.predict(
                [(query, text) for text in texts],
                batch_size=self._batch_size,
                activation_fn=self._sigmoid,
                show_progress_bar=False,
            )
        return [float(score) for score in scores]


class Reranker(Loading[CrossEncoder]):
    """The reranking model of this process; it is shown the first ``depth`` of what was found."""

    def __init__(self, opening: Callable[[], CrossEncoder], *, depth: int) -> None:
        super().__init__("reranking model", opening)
        self.depth = depth

    @classmethod
    def from_settings(cls, settings: RetrieverSettings, *, threads: int | None) -> Self | None:
        if settings.reranking_model is None:
            return None
        return cls(
            lambda: CrossEncoder(settings, threads=threads), depth=settings.reranking_candidates
        )

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        return self.check().scores(query, texts)
