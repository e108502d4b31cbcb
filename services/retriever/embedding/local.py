"""A sentence-transformers model in this process."""

import threading
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from services.retriever.chunking import Word
from services.retriever.embedding.tokens import words_of
from services.retriever.settings import RetrieverSettings


class LocalModel:
    """Used by one thread at a time. Its identity is its weights': the folder may move."""

    def __init__(self, settings: RetrieverSettings, *, threads: int | None = None) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        if threads is not None:
            torch.set_num_threads(threads)
        self._model = SentenceTransformer(
            settings.embedding_model, device=settings.embedding_device
        )
        self._batch_size = settings.embedding_batch_size
        # The Rust tokenizer raises "Already borrowed" when two threads use it at once.
        self._lock = threading.Lock()
        self.identity = identity_of(self._model)
        self.dimensions = int(self.embed(["a"]).shape[1])

    @property
    def reads(self) -> int:
        special = self._model.tokenizer.num_special_tokens_to_add()
        return int(self._model.max_seq_length - special)

    def words(self, texts: Sequence[str]) -> list[list[Word]]:
        with self._lock:
            return words_of(self._model.tokenizer, texts)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The model reads a text's first tokens, all-MiniLM-L6-v2 256; the rest is found by full
        text only."""
        with self._lock:
            vectors = self._model.encode(
                list(texts),
                batch_size=self._batch_size,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return np.asarray(vectors, dtype=np.float32)

    def close(self) -> None:
        """Nothing is held that the process does not give back itself."""


def identity_of(model: Any) -> str:
    import torch

    seen = sha256(f"{model} {model.max_seq_length}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        seen.update(name.encode())
        seen.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return seen.hexdigest()
