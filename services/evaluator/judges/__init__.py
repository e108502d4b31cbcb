"""Judges: models that grade answers, and the exam that says whether to believe them."""
