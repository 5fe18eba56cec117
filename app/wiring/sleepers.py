"""What sleeps for want of a workflow's code, over all partitions of a worker: in metrics, log and readiness."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from app.engine.tables.run import RunStatus
from app.engine.tables.state import State
from app.observe import logs
from app.observe.metrics import WorkerMetrics

SHOWN: Final = 3
"""Workflows that the readiness names; the metrics have all of them."""

log = logs.get(__name__)


class Sleepers:
    """Called now and then with the states of all partitions; remembers what it told, so that it tells it once."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._events: Counter[str] = Counter()
        self._runs: Counter[str] = Counter()

    def observe(self, states: Iterable[State]) -> None:
        """Set the gauges, and log which workflows are waited for now and which no longer are."""
        events: Counter[str] = Counter()
        runs: Counter[str] = Counter()
        for state in states:
            for name, numbers in state.asleep.items():
                if name not in state.waking:
                    events[name] += len(numbers)
            runs.update(one.workflow.id for one in state.runs.awake.values() if one.status is RunStatus.ASLEEP)
        before = self._events.keys() | self._runs.keys()
        now = events.keys() | runs.keys()
        for name in now | before:
            self._metrics.asleep.labels(name).set(events[name])
            self._metrics.runs_asleep.labels(name).set(runs[name])
        for name in sorted(now - before):
            log.warning(
                "workflow_waited_for",
                workflow=name,
                events=events[name],
                runs=runs[name],
                remedy=f"start workers that load it, or give up what waits: headgate workflows retire {name}",
            )
        for name in sorted(before - now):
            log.info("workflow_waited_for_no_more", workflow=name)
        self._events, self._runs = events, runs

    @property
    def detail(self) -> str:
        """A word for the readiness, empty when nothing sleeps."""
        events, runs = self._events.total(), self._runs.total()
        if not events + runs:
            return ""
        names = [name for name, _ in (self._events + self._runs).most_common()]
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
        return f"; {events} events and {runs} runs wait for workers that load {shown}"
