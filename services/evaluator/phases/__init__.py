"""What a run does, in order: proving, retrieving, answering, measuring."""
