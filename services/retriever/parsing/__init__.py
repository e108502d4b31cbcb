"""Files to texts. What is imported here is heavy: only the worker does, when it has a file."""
