"""Who else ranks passages: BM25 by ``bm25s``, and every vector compared with the question's.

Within documents each of them knows the document's passages only.
"""

from collections.abc import Callable
from pathlib import Path

import bm25s
import numpy as np
import numpy.typing as npt
from nltk.stem import SnowballStemmer
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import semantic_search

from bench.questions import Questions

Found = list[list[str]]
"""For each question ids of passages, best first."""

_BLOCK = 64  # texts embedded between two steps of a progress bar


def bm25(data: Questions, depth: int) -> Found:
    """``bm25s`` at its defaults, over English stems as PostgreSQL's full text has them.

    Passages that share no word with the question are left out, as search engines do: ``bm25s``
    gives them in the corpus's order, score 0, where there are no others.
    """
    stem = SnowballStemmer("english").stem

    def words(texts: list[str]) -> list[list[str]]:
        found: list[list[str]] = bm25s.tokenize(
            texts,
            stemmer=lambda unique: [stem(word) for word in unique],
            return_ids=False,
            show_progress=False,
        )
        return found

    passages = words([passage.text for passage in data.passages])
    questions = words([question.text for question in data.asked])
    found: Found = [[] for _ in data.asked]
    for asking, among in data.groups():
        index = bm25s.BM25()
        index.index([passages[place] for place in among], show_progress=False)
        best, scores = index.retrieve(
            [questions[place] for place in asking],
            k=min(depth, len(among)),
            show_progress=False,
        )
        for place, ranked, scored in zip(asking, best.tolist(), scores.tolist(), strict=True):
            found[place] = [
                data.passages[among[at]].id
                for at, score in zip(ranked, scored, strict=True)
                if score > 0
            ]
    return found


def exact(data: Questions, model: Path, depth: int, step: Callable[[int], None]) -> Found:
    """Cosine similarity to every passage's vector; ``step`` is told how many were embedded."""
    embedder = SentenceTransformer(str(model), device="cpu")

    def embedded(texts: list[str]) -> npt.NDArray[np.float32]:
        blocks = []
        for start in range(0, len(texts), _BLOCK):
            block = texts[start : start + _BLOCK]
            blocks.append(embedder.encode(block, show_progress_bar=False))
            step(len(block))
        return np.concatenate(blocks)

    passages = embedded([passage.text for passage in data.passages])
    questions = embedded([question.text for question in data.asked])
    found: Found = [[] for _ in data.asked]
    for asking, among in data.groups():
        best = semantic_search(questions[asking], passages[among], top_k=depth)
        for place, ranked in zip(asking, best, strict=True):
            found[place] = [data.passages[among[hit["corpus_id"]]].id for hit in ranked]
    return found
