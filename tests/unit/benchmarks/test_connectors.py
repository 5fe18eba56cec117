"""What is made of the figures of sources; the measuring itself runs with `make bench ARGS="connectors --quick"`."""

from typing import Any

import pytest

from benchmarks import connectors
from benchmarks.sources import CRON, KINDS, WEBHOOK
from connectors.base.kinds import registry
from connectors.base.metrics import SourceMetrics


def test_every_kind_is_measured() -> None:
    assert {*(kind.kind or kind.name for kind in KINDS.values()), CRON, WEBHOOK} == set(registry.ours())


def test_times_of_acknowledgements_are_read_from_the_metrics_of_a_process() -> None:
    from prometheus_client import generate_latest

    metrics = SourceMetrics()
    for seconds in (0.0004, 0.0004, 0.03, 0.04, 99.0):
        metrics.ack_seconds.labels("rss").observe(seconds)
    found = connectors.buckets(generate_latest(metrics.registry).decode())

    assert (found[0.001], found[0.025], found[0.05], found[float("inf")]) == (2, 2, 4, 5)
    assert connectors.quantile(found, 0.4) == 0.001
    assert connectors.quantile(found, 0.6) == pytest.approx(0.0375)
    assert connectors.quantile(found, 0.99) == 60.0
    assert connectors.quantile({}, 0.5) is None
    assert connectors.quantile(dict.fromkeys(found, 0.0), 0.5) is None


def figures(kind: str, side: str, number: int, per_second: int, cpu: float) -> dict[str, Any]:
    return {
        "round": number,
        "kind": kind,
        "side": side,
        "form": "flood",
        "per_second": per_second,
        "cpu_us_per_event": cpu,
        "lost": 0,
        "doubled": number,
    }


def test_ratios_are_taken_within_a_round() -> None:
    runs = [
        figures("websocket", "headgate", 1, 20, 40.0),
        figures("websocket", "bare", 1, 40, 10.0),
        figures("websocket", "headgate", 2, 30, 60.0),
        figures("websocket", "bare", 2, 40, 20.0),
        figures("rss", "headgate", 1, 5, 99.0),
    ]

    table = connectors.summary(runs)

    ours = table["websocket/flood/headgate"]
    assert (ours["per_second"], ours["rate_ratio"], ours["cpu_ratio"], ours["doubled"]) == (25, 0.62, 3.5, 2)
    assert table["websocket/flood/bare"]["per_second"] == 40
    assert "rate_ratio" not in table["rss/flood/headgate"]
