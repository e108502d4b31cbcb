"""The handbook of Merrowdale Works, a company that does not exist, as a retrieval corpus."""

from fineproof.demo.corpus import Corpus, Passage, Question, generate, write

__all__ = ["Corpus", "Passage", "Question", "generate", "write"]
