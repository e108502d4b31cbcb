"""Judges from the command line: examined, and trained to pass."""
