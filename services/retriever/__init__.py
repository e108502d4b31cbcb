"""Vector stores, their passages, and the search over them."""
