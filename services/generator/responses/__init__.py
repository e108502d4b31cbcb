"""OpenAI's Responses API over our vector stores and vLLM's chat."""
