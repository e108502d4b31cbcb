"""What the generator counts beyond HTTP. Labels come from settings and from this file only."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from services.common.line import LineMetrics
from services.common.telemetry import SECONDS


class GeneratorMetrics(LineMetrics):
    """``upstream`` is ``vllm`` or the name of a hosted model."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__("generator", registry)
        self._begun = Histogram(
            "fineproof_generator_upstream_begin_seconds",
            "Seconds from asking a model server to the first byte of what it generated.",
            ["upstream"],
            registry=registry,
            buckets=SECONDS,
        )
        self._failed = Counter(
            "fineproof_generator_upstream_failures_total",
            "Times a model server was away, late, or broke off.",
            ["upstream", "code"],
            registry=registry,
        )

    def begun(self, upstream: str, seconds: float) -> None:
        self._begun.labels(upstream).observe(seconds)

    def failed(self, upstream: str, code: str) -> None:
        self._failed.labels(upstream, code).inc()
