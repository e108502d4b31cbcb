"""How near an answer's meaning is to the reference's: the evaluator's only contact with torch."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from services.common.errors import FineproofError
from services.evaluator.metrics.answers import Sample

_REMEMBERED = 20_000  # references, which come back under every arm and condition


class Similarity:
    """Cosine of sentence embeddings (Reimers and Gurevych 2019), best over references, 0 if below.

    ``model`` is a folder or Hugging Face id for sentence-transformers, loaded at first use and
    once a process. all-MiniLM-L6-v2 reads a text's first 256 tokens.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._references: dict[str, npt.NDArray[np.float32]] = {}

    def __call__(self, samples: Sequence[Sample]) -> list[float]:
        """One number a sample; an empty answer means nothing, which is 0.

        Raises ``embedding_model_unreadable``.
        """
        answers = [sample.answer for sample in samples]
        wanted = dict.fromkeys(text for sample in samples for text in sample.references)
        new = [text for text in wanted if text not in self._references]
        vectors = self._embed([*answers, *new])
        if len(self._references) > _REMEMBERED:
            kept = {text: self._references[text] for text in wanted if text in self._references}
            self._references = kept
        self._references.update(zip(new, vectors[len(answers) :], strict=True))
        return [
            max(0.0, *(float(vector @ self._references[text]) for text in sample.references))
            if sample.answer.strip()
            else 0.0
            for sample, vector in zip(samples, vectors, strict=False)
        ]

    def _embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        vectors = _load(self._model).encode(
            texts, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32)


@lru_cache(maxsize=1)
def _load(model: str) -> Any:
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(model, device="cpu")
    except (OSError, ValueError) as error:
        raise FineproofError(
            f"The embedding model cannot be loaded ({type(error).__name__}); check "
            "FINEPROOF_EVALUATOR_EMBEDDING_MODEL.",
            code="embedding_model_unreadable",
        ) from error
