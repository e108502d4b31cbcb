"""Inference on paired, clustered scores: pure functions on arrays, each with its source."""
