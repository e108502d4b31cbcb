"""Texts to vectors, and pairs of texts to scores: the retriever's only contact with torch."""

from services.retriever.embedding.embedder import Embedder, Model
from services.retriever.embedding.reranker import Reranker

__all__ = ["Embedder", "Model", "Reranker"]
