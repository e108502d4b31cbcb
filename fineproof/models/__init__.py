"""Chat models as folders that vLLM and transformers read."""
