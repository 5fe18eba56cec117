from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from app.observe.metrics import WorkerMetrics


def test_every_metric_is_ours_by_name_and_says_what_it_means() -> None:
    metrics = WorkerMetrics()
    found = {name: one for name, one in vars(metrics).items() if isinstance(one, Counter | Gauge | Histogram)}
    described = {one.name: one.documentation for one in metrics.registry.collect()}

    assert len(found) == len(described) == len(vars(metrics)) - 1
    assert all(name.startswith("headgate_") for name in described)
    assert all(text.endswith(".") and len(text) > 10 for text in described.values())


def test_two_workers_in_one_process_count_apart() -> None:
    one, two = WorkerMetrics(), WorkerMetrics()
    one.events.inc(5)
    one.ended.labels("charge", "completed").inc()

    assert b"headgate_events_read_total 5.0\n" in generate_latest(one.registry)
    assert b'headgate_runs_ended_total{status="completed",workflow="charge"} 1.0\n' in generate_latest(one.registry)
    assert b"headgate_events_read_total 0.0\n" in generate_latest(two.registry)
