"""What waits for workers that load its workflow is seen, and told once."""

import logging
from typing import Any

import pytest

from app.observe.metrics import WorkerMetrics
from app.wiring.sleepers import Sleepers
from tests.unit.app.engine.partition import Partition, event, flow


def asleep(*names: str, events: int = 1) -> Partition:
    partition = Partition(announced=[flow(name) for name in names])
    partition.read(*(event(n) for n in range(events)))
    partition.commit()
    return partition


def gauge(metrics: WorkerMetrics, name: str, workflow: str) -> Any:
    return metrics.registry.get_sample_value(name, {"workflow": workflow})


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, Any]]:
    found = [(one.message, vars(one)["fields"]) for one in caplog.records]
    caplog.clear()
    return found


def test_what_sleeps_is_counted_over_all_partitions_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    metrics = WorkerMetrics()
    sleepers = Sleepers(metrics)
    first, second = asleep("there", events=2), asleep("there", events=3)

    sleepers.observe([first.state, second.state])
    sleepers.observe([first.state, second.state])

    assert gauge(metrics, "headgate_events_asleep", "there") == 5
    assert sleepers.detail == "; 5 events and 0 runs wait for workers that load there"
    assert told(caplog) == [
        (
            "workflow_waited_for",
            {
                "workflow": "there",
                "events": 5,
                "runs": 0,
                "remedy": "start workers that load it, or give up what waits: headgate workflows retire there",
            },
        )
    ]


def test_what_wakes_is_waited_for_no_more(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    metrics = WorkerMetrics()
    sleepers = Sleepers(metrics)
    partition = asleep("there")
    sleepers.observe([partition.state])
    caplog.clear()
    partition.recalls = False

    partition.load(flow("there"))
    sleepers.observe([partition.state])

    assert gauge(metrics, "headgate_events_asleep", "there") == 0
    assert sleepers.detail == ""
    assert told(caplog) == [("workflow_waited_for_no_more", {"workflow": "there"})]


def test_runs_that_sleep_are_counted_too() -> None:
    metrics = WorkerMetrics()
    sleepers = Sleepers(metrics)
    partition = Partition(flow("there"))
    partition.read(event(0), event(1))
    partition.commit()

    sleepers.observe([partition.takeover(flow("here")).state])

    assert gauge(metrics, "headgate_runs_asleep", "there") == 2
    assert sleepers.detail == "; 0 events and 2 runs wait for workers that load there"


def test_of_many_workflows_the_readiness_names_a_few() -> None:
    sleepers = Sleepers(WorkerMetrics())

    sleepers.observe([asleep("a", "b", "c", "d", "e").state])

    assert sleepers.detail == "; 5 events and 0 runs wait for workers that load a, b, c and 2 more"
