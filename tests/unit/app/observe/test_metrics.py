from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from app.observe.metrics import MOST_PROVIDERS, WorkerMetrics
from topics.provenance import Provenance


def test_every_metric_is_ours_by_name_and_says_what_it_means() -> None:
    metrics = WorkerMetrics()
    found = {name: one for name, one in vars(metrics).items() if isinstance(one, Counter | Gauge | Histogram)}
    described = {one.name: one.documentation for one in metrics.registry.collect()}

    assert len(found) == len(described) == len(vars(metrics)) - 2
    assert all(name.startswith(("headgate_", "triggers_")) for name in described)
    assert all(text.endswith(".") and len(text) > 10 for text in described.values())


def test_runs_of_sources_are_counted_by_kind_and_forged_kinds_make_no_end_of_series() -> None:
    metrics = WorkerMetrics()
    metrics.provided(
        [(Provenance("rss", 1_000), 3_500), (Provenance("rss", None), 9_000), (Provenance("x" * 99, 0), 0)]
    )
    metrics.provided([(Provenance(f"forged-{number}", 0), 0) for number in range(10 * MOST_PROVIDERS)])

    value = metrics.registry.get_sample_value
    assert value("triggers_runs_started_total", {"provider": "rss"}) == 2
    assert value("triggers_latency_seconds_sum", {"provider": "rss"}) == 2.5
    assert value("triggers_latency_seconds_count", {"provider": "rss"}) == 1
    assert generate_latest(metrics.registry).count(b"triggers_runs_started_total{") == MOST_PROVIDERS + 1


def test_two_workers_in_one_process_count_apart() -> None:
    one, two = WorkerMetrics(), WorkerMetrics()
    one.events.inc(5)
    one.ended.labels("charge", "completed").inc()

    assert b"headgate_events_read_total 5.0\n" in generate_latest(one.registry)
    assert b'headgate_runs_ended_total{status="completed",workflow="charge"} 1.0\n' in generate_latest(one.registry)
    assert b"headgate_events_read_total 0.0\n" in generate_latest(two.registry)
