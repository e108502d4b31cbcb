"""The shared floor of the four services. It knows none of them."""
