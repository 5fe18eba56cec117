"""The worker's metrics: one typed list, each with its meaning. Docs and dashboards are made from it."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from topics.provenance import Provenance

MOST_PROVIDERS = 100


class WorkerMetrics:
    """All metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(name, meaning, labels, registry=self.registry)

        def gauge(name: str, meaning: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(name, meaning, labels, registry=self.registry)

        self.events = counter("headgate_events_read", "Records read from the events topic.")
        self.duplicates = counter("headgate_events_duplicate", "Events dropped because their id was seen before.")
        self.unmatched = counter("headgate_events_unmatched", "Events that triggered no workflow.")
        self.filtered = counter("headgate_events_filtered", "Events that a workflow's filter turned away.")
        self.forwarded = counter("headgate_events_forwarded", "Events sent on to the partition of their key or id.")
        self.noticed = counter(
            "headgate_events_noticed", "Events that a registry was told of because somebody waits for such topics."
        )
        self.met = counter("headgate_waits_met", "Events that met a wait, at the registry of its topic.")
        self.expired = counter("headgate_waits_expired", "Waits that no event met in time.")
        self.waits = gauge("headgate_waits", "Waits for events, at the registry of their topic.", ("partition",))
        self.waiting = gauge(
            "headgate_waiting", "Events, times, decisions and children that runs wait for.", ("partition",)
        )
        self.waiting_fill = gauge(
            "headgate_waiting_fill_ratio", "These over the bound: at 1 steps that would wait fail.", ("partition",)
        )
        self.parked = gauge(
            "headgate_records_parked", "Records for Kafka topics of others that are away.", ("partition",)
        )
        self.crowded = counter("headgate_waits_refused", "Steps that failed because too much waits already.")
        self.malformed = counter("headgate_events_malformed", "Records that became dead letters undecoded.")
        self.started = counter("headgate_runs_started", "Runs started.")
        self.retried = counter("headgate_runs_retried", "Attempts that failed and are followed by another.")
        self.ended = counter("headgate_runs_ended", "Runs that ended.", ("workflow", "status"))
        self.partitions = gauge("headgate_partitions", "Partitions that this worker owns.")
        self.standbys = gauge(
            "headgate_standby_partitions", "Partitions of other workers whose journals are read ahead here."
        )
        self.running = gauge("headgate_runs_running", "Runs whose attempt is going on.", ("partition",))
        self.queued = gauge(
            "headgate_events_queued_bytes", "Memory, by estimate, of events that wait for a run.", ("partition",)
        )
        self.asleep = gauge(
            "headgate_events_asleep", "Events that wait for a worker that loads their workflow.", ("workflow",)
        )
        self.runs_asleep = gauge(
            "headgate_runs_asleep", "Runs that wait for a worker that loads their workflow.", ("workflow",)
        )
        self.stuck = gauge(
            "headgate_runs_stuck", "Runs that the code does not fit any more; each waits for somebody.", ("partition",)
        )
        self.slept = counter("headgate_events_slept", "Events that fell asleep, once for each workflow they wait for.")
        self.woken = counter("headgate_events_woken", "Events that slept, and were read back from the journal.")
        self.overslept = counter(
            "headgate_events_overslept", "Events that became dead letters because too many slept already."
        )
        self.dedup_ids = gauge("headgate_dedup_ids", "Event ids remembered.", ("partition",))
        self.dedup_fill = gauge(
            "headgate_dedup_fill_ratio", "Ids remembered over the bound: at 1 ids are forgotten early.", ("partition",)
        )
        self.dedup_early = counter("headgate_dedup_forgotten_early", "Ids forgotten before the window ended.")
        self._providers: set[str] = set()
        self.provided_runs = counter(
            "triggers_runs_started", "Runs started by events of sources and webhooks, by their kind.", ("provider",)
        )
        self.provided_seconds = Histogram(
            "triggers_latency_seconds",
            "Seconds from the reading of an event by a source to the start of its run.",
            ("provider",),
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0),
            registry=self.registry,
        )

    def provided(self, started: Iterable[tuple[Provenance, int]]) -> None:
        """Count runs that events of sources started, with the times of those starts (ms)."""
        for found, at_ms in started:
            # Any client can write the header: kinds beyond what an installation has share one name.
            if len(self._providers) < MOST_PROVIDERS and len(found.provider) <= 50:
                self._providers.add(found.provider)
            provider = found.provider if found.provider in self._providers else "other"
            self.provided_runs.labels(provider).inc()
            if found.received_ms is not None:
                self.provided_seconds.labels(provider).observe(max(0, at_ms - found.received_ms) / 1000)
