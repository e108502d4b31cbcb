"""Names that stand for adapters."""
