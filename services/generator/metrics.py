"""What the generator counts beyond HTTP. Labels come from settings and from this file only."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class GeneratorMetrics:
    """``upstream`` is ``vllm`` or the name of a hosted model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._waiting = Gauge(
            "fineproof_generator_waiting", "Requests waiting for a place.", registry=registry
        )
        self._waited = Histogram(
            "fineproof_generator_waited_seconds",
            "Seconds in line, of requests that had to wait, whether or not a place came free.",
            registry=registry,
            buckets=_SECONDS,
        )
        self._refused = Counter(
            "fineproof_generator_refused_total",
            "Requests refused before anything was generated.",
            ["reason"],
            registry=registry,
        )
        self._begun = Histogram(
            "fineproof_generator_upstream_begin_seconds",
            "Seconds from asking a model server to the first byte of what it generated.",
            ["upstream"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._failed = Counter(
            "fineproof_generator_upstream_failures_total",
            "Times a model server was away, late, or broke off.",
            ["upstream", "code"],
            registry=registry,
        )

    @contextmanager
    def in_line(self) -> Iterator[None]:
        with self._waiting.track_inprogress(), self._waited.time():
            yield

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def begun(self, upstream: str, seconds: float) -> None:
        self._begun.labels(upstream).observe(seconds)

    def failed(self, upstream: str, code: str) -> None:
        self._failed.labels(upstream, code).inc()
