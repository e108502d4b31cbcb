"""Texts to vectors: the retriever's only contact with torch."""

import threading
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import structlog

from services.common.errors import Unavailable
from services.retriever.chunking import Word
from services.retriever.models import DIMENSIONS
from services.retriever.settings import RetrieverSettings

log = structlog.get_logger(__name__)


class Embedder:
    """A sentence-transformers model, loaded once a process and used by one thread at a time."""

    def __init__(
        self, model: str, *, device: str = "cpu", batch_size: int = 32, threads: int | None = None
    ) -> None:
        self._name = model
        self._device = device
        self._batch_size = batch_size
        self._threads = threads
        self._model: Any = None
        self._failure: str | None = None
        # The Rust tokenizer raises "Already borrowed" when two threads use it at once.
        self._lock = threading.Lock()

    @classmethod
    def from_settings(cls, settings: RetrieverSettings, *, threads: int | None) -> Self:
        return cls(
            settings.embedding_model,
            device=settings.embedding_device,
            batch_size=settings.embedding_batch_size,
            threads=threads,
        )

    def load_in_background(self) -> None:
        threading.Thread(target=self._try_to_load, name="embedder", daemon=True).start()

    def _try_to_load(self) -> None:
        try:
            self.load()
        except Exception as error:
            self._failure = f"The embedding model cannot be loaded: {error}"
            log.exception("embedding_model_not_loaded")

    def load(self) -> None:
        """Load the model unless it is there; whatever the libraries raise goes through.

        Raises ``ValueError`` for a model whose vectors do not fit the table.
        """
        with self._lock:
            if self._model is not None:
                return
            import torch
            from sentence_transformers import SentenceTransformer

            if self._threads is not None:
                torch.set_num_threads(self._threads)
            model = SentenceTransformer(self._name, device=self._device)
            size = model.encode(["a"], show_progress_bar=False).shape[1]
            if size != DIMENSIONS:
                raise ValueError(f"its vectors have {size} dimensions, the store's {DIMENSIONS}")
            self._model = model
            log.info("embedding_model_loaded", model=self._name, device=self._device)

    def check(self) -> None:
        """Raise ``Unavailable`` while the model is not there."""
        if self._model is None:
            raise Unavailable(
                self._failure or "The embedding model is being loaded; try again in a moment.",
                code="not_ready",
                headers={"Retry-After": "2"},
            )

    @cached_property
    def identity(self) -> str:
        """The same for the same weights, wherever they lie: what vectors are kept by."""
        self.check()
        return _identity(self._model)

    @property
    def reads(self) -> int:
        """Tokens of a text that the model reads; the rest has no part in its vector."""
        self.check()
        special = self._model.tokenizer.num_special_tokens_to_add()
        return int(self._model.max_seq_length - special)

    def words(self, texts: Sequence[str]) -> list[list[Word]]:
        """The words of each text as the model's tokenizer sees them."""
        self.check()
        with self._lock:
            encoded = self._model.tokenizer(
                list(texts),
                add_special_tokens=False,
                truncation=False,
                padding=False,
                return_attention_mask=False,
                verbose=False,
            ).encodings
        return [_words(one.word_ids, one.offsets) for one in encoded]

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of length 1, shape ``(len(texts), 384)``; the model reads a text's first 256
        tokens (all-MiniLM-L6-v2), the rest is found by full text only."""
        self.check()
        with self._lock:
            vectors = self._model.encode(
                list(texts),
                batch_size=self._batch_size,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=False,
            )
        return np.asarray(vectors, dtype=np.float32)


def _words(ids: Sequence[int | None], offsets: Sequence[tuple[int, int]]) -> list[Word]:
    words: list[Word] = []
    last = None
    for word, (start, _) in zip(ids, offsets, strict=True):
        if words and word is not None and word == last:
            words[-1] = Word(words[-1].start, words[-1].tokens + 1)
        else:
            words.append(Word(start, 1))
        last = word
    return words


def _identity(model: Any) -> str:
    import torch

    seen = sha256(f"{model} {model.max_seq_length}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        seen.update(name.encode())
        seen.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return seen.hexdigest()
