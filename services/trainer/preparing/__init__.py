"""From a caller's files to prompts: read, checked and rendered into a run's folder."""
