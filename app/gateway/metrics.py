"""What the gateway counts, in a registry of its own, and the page that Prometheus reads."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

LATENCIES_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Every metric of the gateway. Labels have few values: a route's template, never a path as it was asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "headgate_gateway_requests",
            "Requests answered, by route and status.",
            ("route", "status"),
            registry=self.registry,
        )
        self.connections_refused = Counter(
            "headgate_gateway_connections_refused",
            "Connections refused before there was a request, by the code of the answer.",
            ("code",),
            registry=self.registry,
        )
        self.latency = Histogram(
            "headgate_gateway_request_seconds",
            "Seconds from a request's head to its answer, by route.",
            ("route",),
            buckets=LATENCIES_SECONDS,
            registry=self.registry,
        )
        self.events = Counter(
            "headgate_gateway_events_produced", "Events that Kafka has acknowledged.", registry=self.registry
        )
        self.in_flight = Gauge(
            "headgate_gateway_requests_in_flight", "Requests being answered.", registry=self.registry
        )
        self.pending_bytes = Gauge(
            "headgate_gateway_pending_bytes", "Bytes of events that wait for Kafka.", registry=self.registry
        )
        self.behind_records = Gauge(
            "headgate_read_model_behind_records",
            "Records that the read model has not read yet.",
            registry=self.registry,
        )
        self.behind_seconds = Gauge(
            "headgate_read_model_behind_seconds",
            "Age of what the read model shows, in seconds.",
            registry=self.registry,
        )
        self.up = Gauge(
            "headgate_gateway_up",
            "Whether what the gateway needs is there: 1, or 0 while requests that need it are answered 503.",
            ("check",),
            registry=self.registry,
        )
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def watch(self, *, in_flight: Callable[[], int], pending_bytes: Callable[[], int]) -> None:
        """Read these values when the page is asked for."""
        self.in_flight.set_function(in_flight)
        self.pending_bytes.set_function(pending_bytes)

    def watch_read_model(self, *, behind_records: Callable[[], int], behind_seconds: Callable[[], float]) -> None:
        """Read these values when the page is asked for."""
        self.behind_records.set_function(behind_records)
        self.behind_seconds.set_function(behind_seconds)

    def refused(self, code: str) -> None:
        """A connection was refused before there was a request."""
        self.connections_refused.labels(code).inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """One request was answered."""
        children = self._children.get((route, status))
        if children is None:
            # `labels` costs more than the counting; the pairs of route and status are few.
            children = self.requests.labels(route, str(status)), self.latency.labels(route)
            self._children[route, status] = children
        children[0].inc()
        children[1].observe(seconds)


async def page(request: Request) -> Response:
    """GET /metrics: of the gateway, and of the webhooks that it receives."""
    gateway = request.app.state.gateway
    for name, check in (await gateway.readiness.report()).checks.items():
        gateway.metrics.up.labels(name).set(check.up)
    registries = (gateway.metrics.registry, gateway.sources.hooks.place.metrics.registry)
    return Response(b"".join(map(generate_latest, registries)), media_type=CONTENT_TYPE_LATEST)
