"""Names that stand for adapters, from the command line."""
