"""Medians and ratios of rounds."""

from typing import Any

from benchmarks import throughput


def _run(side: str, number: int, per_second: int) -> dict[str, Any]:
    figures = {"cpu_us_per_event": 10.0, "broker_cpu_us_per_event": 1.0, "peak_rss_mb": 100.0, "workers": 1}
    return {"side": side, "round": number, "form": "backlog", "per_second": per_second, "doubled": 0, **figures}


def test_ratios_are_taken_within_a_round_before_the_median() -> None:
    runs = [_run("headgate", 1, 100), _run("quix", 1, 50), _run("headgate", 2, 300), _run("quix", 2, 60)]
    runs += [_run("headgate", 3, 120), _run("quix", 3, 40)]
    table = throughput.summary(runs)
    assert (table["quix/backlog"]["per_second"], table["quix/backlog"]["headgate_ratio"]) == (50, 3.0)
    assert table["headgate/backlog"]["headgate_ratio"] == 1.0
