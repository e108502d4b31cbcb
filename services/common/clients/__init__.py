"""One typed httpx client per service. A peer's error comes back as the error it sent."""
