"""A study: one specification on several data sets and base models, and what they say together."""
