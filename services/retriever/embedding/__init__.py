"""Texts to vectors: the retriever's only contact with torch."""

from services.retriever.embedding.embedder import Embedder, Model

__all__ = ["Embedder", "Model"]
