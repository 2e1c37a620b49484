"""Metrics of a server, as Prometheus reads them."""

from collections.abc import Iterable

from .versions import Served

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
EXAMPLES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters and histograms of one server, in a registry of their own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
        from prometheus_client.process_collector import ProcessCollector

        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, processor time, open files
        self._requests = Counter(
            "kpipe_requests",
            "Requests by model (empty: none, or an unknown one) and HTTP status",
            ("model", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "kpipe_request_seconds",
            "Seconds from a request's head to its answer",
            ("model",),
            buckets=SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "kpipe_batch_examples",
            "Examples that were computed at once",
            buckets=EXAMPLES,
            registry=registry,
        )
        self._errors = Counter(
            "kpipe_errors",
            "Requests and connections that were refused or failed, by kind",
            ("kind",),
            registry=registry,
        )
        self._queue = Gauge(
            "kpipe_queue_examples", "Examples waiting or being computed", registry=registry
        )
        self._version = Gauge(
            "kpipe_model_version", "Version that answers", ("model",), registry=registry
        )
        self._refused = Gauge(
            "kpipe_refused_versions",
            "Versions on disk that were refused",
            ("model",),
            registry=registry,
        )

    def count_request(self, model: str, status: int, seconds: float) -> None:
        """Counts an answered request."""
        self._requests.labels(model, str(status)).inc()
        self._seconds.labels(model).observe(seconds)

    def count_batch(self, examples: int) -> None:
        """Counts a batch."""
        self._batches.observe(examples)

    def count_error(self, kind: str) -> None:
        """Counts what was refused or failed."""
        self._errors.labels(kind).inc()

    def text(self, models: Iterable[Served], queue: int) -> tuple[bytes, str]:
        """Returns all metrics, and their content type.

        Args:
            models: The models, whose versions are told.
            queue: Number of examples that are waiting.
        """
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        self._queue.set(queue)
        for model in models:
            latest = model.latest
            self._version.labels(model.name).set(latest.number if latest else 0)
            self._refused.labels(model.name).set(len(model.refused))
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
