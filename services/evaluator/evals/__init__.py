"""OpenAI's Evals API: evals, their runs, and what each run made of each item."""
