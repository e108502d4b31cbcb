"""Questions answered from passages, with citations."""
