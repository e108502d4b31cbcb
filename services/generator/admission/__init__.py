"""Who may ask how much, and who waits for whom."""
