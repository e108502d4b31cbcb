"""Measures what fine-tuning does to a RAG pipeline, and says how sure one may be."""
