"""A model behind ``/v1/embeddings``: vLLM's, TEI's, OpenAI's, or whoever speaks like them."""

import threading
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from services.common.contracts.base import Wire
from services.common.errors import Unavailable, UpstreamFailed, UpstreamTimeout
from services.retriever.chunking import Word
from services.retriever.embedding.tokens import cut, estimated_words, words_of
from services.retriever.settings import RetrieverSettings

_ATTEMPTS = 3
_LATER = 2

# Busy, or on its way up or down.
_PASSING = {429, 500, 502, 503, 504}


class _Vector(Wire):
    index: int
    embedding: list[float]


class _Reply(Wire):
    data: list[_Vector]


class RemoteModel:
    """Its identity is its name and address: whose weights answer there is not told.

    A text is cut to what the model reads before it is sent, as a local model does: servers refuse
    longer ones. Tokens are those of ``embedding_tokenizer``, or estimated where none is given.

    Raises ``Unavailable`` when the server is away or busy, ``UpstreamTimeout`` when it does not
    answer, ``UpstreamFailed`` when it refuses, or answers what are no vectors.
    """

    def __init__(self, settings: RetrieverSettings) -> None:
        url = (settings.embedding_url or "").rstrip("/")
        self._name = settings.embedding_model
        self._batch_size = settings.embedding_batch_size
        self._tokenizer = _tokenizer(settings.embedding_tokenizer)
        # The Rust tokenizer raises "Already borrowed" when two threads use it at once.
        self._lock = threading.Lock()
        special = self._tokenizer.num_special_tokens_to_add() if self._tokenizer else 2
        self.reads = settings.embedding_max_tokens - special
        key = settings.embedding_key
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {key.get_secret_value()}"} if key else {},
            timeout=httpx.Timeout(settings.embedding_timeout_s, connect=5),
        )
        self.identity = sha256(f"{url}\n{self._name}".encode()).hexdigest()
        try:
            self.dimensions = int(self._ask(["a"]).shape[1])
        except Exception:
            self._http.close()
            raise

    def words(self, texts: Sequence[str]) -> list[list[Word]]:
        if self._tokenizer is None:
            return estimated_words(texts)
        with self._lock:
            return words_of(self._tokenizer, texts)

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        read = [
            cut(text, words, tokens=self.reads)
            for text, words in zip(texts, self.words(texts), strict=True)
        ]
        batches = range(0, len(read), self._batch_size)
        vectors = np.concatenate(
            [self._ask(read[start : start + self._batch_size]) for start in batches]
        )
        if vectors.shape[1] != self.dimensions:
            raise _invalid(f"vectors of {vectors.shape[1]} dimensions after {self.dimensions}")
        return vectors

    def close(self) -> None:
        self._http.close()

    def _ask(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        asking = Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=_LATER),
            retry=retry_if_exception_type(Unavailable),
            reraise=True,
        )
        return _vectors(asking(self._once, texts), len(texts))

    def _once(self, texts: Sequence[str]) -> _Reply:
        ask = {"model": self._name, "input": list(texts), "encoding_format": "float"}
        try:
            response = self._http.post("/embeddings", json=ask)
        except httpx.TimeoutException as error:
            raise UpstreamTimeout("The embedding server did not answer in time.") from error
        except httpx.TransportError as error:
            raise _away(f"cannot be reached ({type(error).__name__})") from error
        if response.status_code in _PASSING:
            raise _away(f"answered {response.status_code}: {response.text[:200]}")
        if not response.is_success:
            raise UpstreamFailed(
                f"The embedding server answered {response.status_code}: {response.text[:200]}"
            )
        try:
            return _Reply.model_validate_json(response.content)
        except ValidationError as error:
            raise _invalid("what is not its vectors' JSON") from error


def _tokenizer(name: str | None) -> Any:
    if name is None:
        return None
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name)


def _vectors(reply: _Reply, count: int) -> npt.NDArray[np.float32]:
    """The vectors in the order asked for, at length 1, which not every server gives them."""
    found = sorted(reply.data, key=lambda one: one.index)
    if [one.index for one in found] != list(range(count)):
        raise _invalid(f"{len(found)} vectors for {count} texts")
    if len({len(one.embedding) for one in found}) != 1:
        raise _invalid("vectors of different dimensions")
    vectors = np.array([one.embedding for one in found], np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and lengths.all()):
        raise _invalid("a vector without a direction")
    return np.asarray(vectors / lengths, np.float32)


def _away(how: str) -> Unavailable:
    return Unavailable(
        f"The embedding server {how}; try again in a moment.",
        code="embedding_server_unavailable",
        headers={"Retry-After": str(_LATER)},
    )


def _invalid(what: str) -> UpstreamFailed:
    return UpstreamFailed(f"The embedding server answered {what}.", code="invalid_embeddings")
