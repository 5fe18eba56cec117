"""What was aimed at, beside what was measured. Called by `report`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple


class Goal(NamedTuple):
    """A bound on one figure: at least, or at most."""

    mode: str
    about: str
    row: str
    column: str
    bound: float
    unit: str = ""
    at_least: bool = False


def _least(mode: str, about: str, row: str, column: str, bound: float, unit: str = "") -> Goal:
    return Goal(mode, about, row, column, bound, unit, at_least=True)


GOALS: Final = (
    _least("throughput", "events to results, a backlog", "headgate/backlog", "per_second", 60_000, "/s"),
    _least("throughput", "the same ÷ Quix Streams", "quix/backlog", "headgate_ratio", 1.5),
    _least("throughput", "the same ÷ stock Faust", "faust/backlog", "headgate_ratio", 12),
    _least("throughput", "the same ÷ FastStream", "faststream/backlog", "headgate_ratio", 30),
    _least("throughput", "events to results while they are produced", "headgate/live", "per_second", 60_000, "/s"),
    Goal("latency", "1,000 events/s, p50", "headgate/1000", "p50_ms", 4, " ms"),
    Goal("latency", "1,000 events/s, p99", "headgate/1000", "p99_ms", 20, " ms"),
    _least("gateway", "single events acknowledged", "single", "events_per_second", 8_000, "/s"),
    _least("gateway", "events in lists of 100", "lists of 100", "events_per_second", 60_000, "/s"),
    Goal("first", "from a fresh clone to the first result", "empty caches", "first_result_seconds", 60, " s"),
    Goal("first", "the same, the second time", "second time", "first_result_seconds", 10, " s"),
    Goal("idle", "a worker's start", "again", "ready_seconds", 2, " s"),
    Goal("idle", "memory without events", "again", "rss_mb", 100, " MB"),
    Goal("idle", "CPU without events", "again", "cpu_percent", 1, " %"),
    Goal("bounds", "memory with all bounds on events and ids reached", "all", "peak_rss_mb", 512, " MB"),
    Goal(
        "restart", "without results: the same instance, from the journal", "restart", "without_results_seconds", 3, " s"
    ),
    Goal("restart", "the same, with its snapshots", "snapshots", "without_results_seconds", 3, " s"),
    Goal("restart", "without results: another worker takes over", "takeover", "without_results_seconds", 10, " s"),
    _least("durable", "runs of three steps", "headgate/throughput", "per_second", 3_000, "/s"),
    Goal("durable", "the same at 400/s, p50", "headgate/latency", "p50_ms", 6, " ms"),
    Goal("durable", "the same at 400/s, p99", "headgate/latency", "p99_ms", 30, " ms"),
    _least("waiting", "waiting runs", "headgate", "waiting", 1_000_000),
    Goal("waiting", "memory with them", "headgate", "rss_mb", 500, " MB"),
    Goal("waiting", "to wake one of them, p99", "headgate", "wake_p99_ms", 20, " ms"),
    _least("waiting", "fresh runs beside them ÷ without", "headgate", "fresh_ratio", 0.9),
    Goal("waiting", "restart with them", "headgate", "restart_seconds", 5, " s"),
    _least("timers", "pending timers", "headgate", "pending", 1_000_000),
    _least("timers", "of these due within one second", "headgate", "due", 10_000),
    Goal("timers", "the latest of those", "headgate", "max_ms", 250, " ms late"),
    Goal("timers", "the same after a kill -9 of the worker", "headgate/restarted", "max_ms", 250, " ms late"),
    Goal("timers", "time-outs of waits beside them, 20/s, p99", "headgate/few", "p99_ms", 50, " ms late"),
    Goal("timers", "1,000 of these within one second, p99", "headgate/timeouts", "p99_ms", 50, " ms late"),
    Goal("calls", "a call over HTTP at 500/s, p50", "headgate/http", "p50_ms", 8, " ms"),
    Goal("calls", "the same, p99", "headgate/http", "p99_ms", 30, " ms"),
    Goal("calls", "over Kafka at 500/s, p50", "headgate/reply_topic", "p50_ms", 8, " ms"),
    Goal("calls", "the same, p99", "headgate/reply_topic", "p99_ms", 30, " ms"),
    _least("connectors", "a WebSocket's messages, sustained", "websocket/paced/headgate", "per_second", 9_990, "/s"),
    Goal("connectors", "lost of them", "websocket/paced/headgate", "lost", 0),
    Goal("journal", "the last of 1,000 steps ÷ the first", "headgate", "last_to_first", 1.1),
)


def rows(folder: Path) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield what is measured, its goal, the figure, whether it reaches it, and how it was measured, of every result in
    `folder`.
    """
    for goal in GOALS:
        path = folder / f"{goal.mode}.json"
        measured: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        figure = measured.get("summary", {}).get(goal.row, {}).get(goal.column)
        if figure is None:
            shown, reached = "", "not measured yet"
        else:
            shown = f"{figure:,.10g}{goal.unit}"
            reached = "yes" if (figure >= goal.bound if goal.at_least else figure <= goal.bound) else "no"
        bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound:,.10g}{goal.unit}"
        yield goal.about, bound, shown, reached, _how(measured) if shown else ""


def _how(measured: dict[str, Any]) -> str:
    """Return the rounds and the commit of a result."""
    rounds = max([one.get("round", 1) for one in measured.get("runs", ())], default=1)
    return f"{rounds}, {measured['machine']['commit']}"
