"""Turns question-answer pairs into LoRA adapters, and keeps the registry of them."""
