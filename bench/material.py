"""What a benchmark of search stores and asks: passages, their vectors, and questions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fineproof.data.reading import CORPUS, PAIR, PASSAGE, TEST, rows
from fineproof.demo.corpus import generate

Vectors = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

DIMENSIONS = 384
_WORDS = 60
_TIE = 1e-4  # what half precision leaves open


@dataclass(frozen=True)
class Material:
    """``vectors`` have length 1, shape ``(passages, 384)``; so have ``queries``, whose words are
    ``questions`` where they have any. ``text`` gives a passage by its number, from 0 and on."""

    vectors: Halves
    queries: Vectors
    questions: Sequence[str]
    text: Callable[[int], str]

    def recall(self, found: Sequence[Sequence[int]], size: int, k: int) -> float:
        """The share of each query's true ``k`` nearest among the first ``size`` that was found, by
        passages' numbers: the mean over the queries."""
        best = np.full((len(self.queries), k), -np.inf, np.float32)
        for start in range(0, size, 10_000):
            block = self.vectors[start : min(size, start + 10_000)].astype(np.float32)
            both = np.hstack([best, self.queries @ block.T])
            best = np.partition(both, -k)[:, -k:]
        shares = [
            (self.vectors[list(near)].astype(np.float32) @ query >= kth - _TIE).sum() / k
            for near, query, kth in zip(found, self.queries, best.min(axis=1), strict=True)
        ]
        return float(np.mean(shares))


def invented(passages: int, queries: int, seed: int) -> Material:
    """Clusters, as an embedding model's vectors form them: uniformly random ones of 384 dimensions
    have no neighbours to speak of, and no index finds them. A cluster varies in 24 directions."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(500, DIMENSIONS)).astype(np.float32)
    spread = random.normal(size=(24, DIMENSIONS)).astype(np.float32)

    def draw(count: int) -> Vectors:
        parts = []
        for start in range(0, count, 10_000):
            some = min(10_000, count - start)
            inside = random.normal(scale=0.2, size=(some, len(spread))).astype(np.float32)
            noise = random.normal(scale=0.1, size=(some, DIMENSIONS)).astype(np.float32)
            parts.append(_unit(centres[random.integers(500, size=some)] + inside @ spread + noise))
        return np.concatenate(parts)

    words = sorted({word for one in generate(seed).passages for word in one.text.split()})
    asked = [str(question.question) for question in generate(seed).test]

    def text(number: int) -> str:
        chosen = np.random.default_rng([seed, number]).integers(len(words), size=_WORDS)
        return f"{number}. {' '.join(words[each] for each in chosen)}"

    return Material(draw(passages).astype(np.float16), draw(queries), asked, text)


def of_folder(
    folder: Path, passages: int, queries: int, embed: Callable[[Sequence[str]], Vectors]
) -> Material:
    """The folder's first passages and test questions, embedded. Numbers behind the last passage
    give its texts again, each with its number, so that none is one that was embedded before."""
    texts = [f"{row.get('title') or ''}\n{row['text']}" for row in rows(folder / CORPUS, PASSAGE)]
    asked = [str(row["question"]) for row in rows(folder / TEST, PAIR)][:queries]
    vectors = embed(texts[:passages]).astype(np.float16)
    return Material(vectors, embed(asked), asked, lambda n: f"{n}. {texts[n % len(texts)]}")


def _unit(vectors: Vectors) -> Vectors:
    scaled: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled
