"""From an item and a sample to scores: each grader in a room of its own."""
