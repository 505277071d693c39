"""The service's counts and times, for Prometheus.

Holds `Metrics`, with a registry per app, so that several apps in one process do not mix.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from connectors.modality import Modality
from service.timings import Stages

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Every metric, by its name in the code."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Histogram(
            "isthmus_request_seconds",
            "Time to answer",
            ["route", "status"],
            buckets=SECONDS,
            registry=registry,
        )
        self.stages = Histogram(
            "isthmus_stage_seconds", "Time in one stage", ["stage"], buckets=SECONDS, registry=registry
        )
        self.item_seconds = Histogram(
            "isthmus_item_seconds",
            "Time of one item in one stage of the engine",
            ["encoder", "stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_items = Histogram(
            "isthmus_batch_items",
            "Items a batch",
            ["encoder", "modality"],
            buckets=BATCHES,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "isthmus_batch_seconds",
            "Time of a batch",
            ["encoder", "modality"],
            buckets=SECONDS,
            registry=registry,
        )
        self.admitted = Gauge(
            "isthmus_admitted_items", "Items admitted and not yet done", ["encoder"], registry=registry
        )
        self.admitted_bytes = Gauge(
            "isthmus_admitted_bytes", "Bytes admitted and not yet done", ["encoder"], registry=registry
        )
        self.queue_depth = Gauge(
            "isthmus_queue_depth", "Prepared items waiting for a batch", ["encoder"], registry=registry
        )
        self.restarts = Gauge(
            "isthmus_encoder_restarts", "Times an encoder's thread died", ["encoder"], registry=registry
        )
        self.body_bytes = Gauge(
            "isthmus_body_bytes", "Bytes of request bodies held in memory", registry=registry
        )
        self.rejected = Counter("isthmus_rejected_total", "Requests refused", ["code"], registry=registry)
        self.cache = Counter("isthmus_cache_total", "Vector cache look-ups", ["result"], registry=registry)
        self.items = Counter("isthmus_items_total", "Items embedded", ["modality"], registry=registry)

        self.connector = Gauge(
            "isthmus_connector_info", "1 for the connector in use", ["version"], registry=registry
        )
        self.jobs = Gauge("isthmus_jobs", "Jobs remembered", ["kind", "state"], registry=registry)
        self.job_done = Gauge(
            "isthmus_job_done", "Units behind the jobs that have not ended", ["kind"], registry=registry
        )
        self.job_total = Gauge(
            "isthmus_job_total", "Units of the jobs that have not ended", ["kind"], registry=registry
        )

    def batch(self, encoder: str, modality: Modality, items: int, seconds: float) -> None:
        """Count one batch; see `service.engine.worker.BatchObserver`."""
        self.batch_items.labels(encoder, modality).observe(items)
        self.batch_seconds.labels(encoder, modality).observe(seconds)

    def item(self, encoder: str, modality: Modality, stages: Stages) -> None:
        """Count one item that an encoder embedded, and time its stages."""
        self.items.labels(modality).inc()
        self.item_seconds.labels(encoder, "queue").observe(stages.queue)
        self.item_seconds.labels(encoder, "decode").observe(stages.decode)
        self.item_seconds.labels(encoder, "inference").observe(stages.inference)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
