from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.cli import runlog
from app.cli.cluster import Cluster
from app.kafka.records import Record
from topics import facts
from topics.envelope import Envelope

EVENT = Envelope("i1", "", True, "orders/created", None, "k", {}, None, None, None, None, 0, 0, 1_000, 10)
ERROR = facts.error_of("ValueError", "no")
Logs = dict[str, list[Record]]


def record(topic: str, key: bytes | None, value: bytes) -> Record:
    return Record(topic=topic, partition=0, offset=0, timestamp_ms=0, key=key, value=value, headers=())


def started(run_id: str, at_ms: int, workflow_id: str = "w") -> Record:
    made = facts.run_started(
        run_id=run_id, workflow_id=workflow_id, workflow_version="1", at_ms=at_ms, key="k", events=[EVENT]
    )
    return record("runs", made.key, made.value)


def retried(run_id: str) -> Record:
    made = facts.run_retried(run_id=run_id, workflow_id="w", at_ms=2_000, attempt=1, error=ERROR, retry_at_ms=3_000)
    return record("runs", made.key, made.value)


def waiting(run_id: str) -> Record:
    about: dict[str, Any] = {"key": "paid?", "kind": "await", "what": "w", "since_ms": 2_000, "until_ms": None}
    made = facts.step_waiting(run_id=run_id, workflow_id="w", at_ms=2_000, **about)
    return record("runs", made.key, made.value)


def finished(run_id: str, at_ms: int, status: str = "completed") -> Record:
    value = facts.result_value(
        run_id=run_id,
        workflow_id="w",
        workflow_version="1",
        status=status,
        result_json=b"7",
        error=None,
        events=[EVENT],
        key=None,
        started_at_ms=at_ms,
        finished_at_ms=at_ms + 5,
        attempts=2,
    )
    return record("results", run_id.encode(), value)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> Logs:
    """What the two topics hold."""
    made: Logs = {"runs": [], "results": []}

    def records(_cluster: Cluster, name: str) -> Iterator[Record]:
        yield from made[name]

    monkeypatch.setattr(runlog, "_records", records)
    return made


def listed(connected: Callable[[], Cluster], **wanted: str) -> list[str]:
    asked = {"workflow": None, "status": None, "key": None} | wanted
    return [run["run_id"] for run in runlog.summaries(connected(), limit=2, **asked)]


def test_runs_come_newest_first_and_no_more_than_wanted(connected: Callable[[], Cluster], logs: Logs) -> None:
    logs["results"] = [finished("w:1", 1_000), finished("w:3", 3_000), finished("w:2", 2_000)]
    assert listed(connected) == ["w:3", "w:2"]


def test_a_run_that_goes_on_is_known_from_its_facts(connected: Callable[[], Cluster], logs: Logs) -> None:
    logs["runs"] = [started("w:1", 1_000), retried("w:1")]
    assert runlog.summaries(connected(), workflow=None, status=None, key=None, limit=9) == [
        {
            "run_id": "w:1",
            "workflow_id": "w",
            "workflow_version": "1",
            "status": "retrying",
            "key": "k",
            "started_at": "1970-01-01T00:00:01.000Z",
            "finished_at": None,
            "attempts": 1,
            "error": ERROR,
        }
    ]


def test_a_run_that_waits_is_listed_as_waiting(connected: Callable[[], Cluster], logs: Logs) -> None:
    logs["runs"] = [started("w:1", 1_000), started("w:2", 1_000), waiting("w:1"), waiting("w:3")]
    assert listed(connected, status="waiting") == ["w:1", "w:3"]
    assert listed(connected, status="running") == ["w:2"]


def test_one_run_comes_with_its_steps(connected: Callable[[], Cluster], logs: Logs) -> None:
    logs["runs"] = [started("w:1", 1_000), waiting("w:1")]
    found = runlog.one(connected(), "w:1")
    assert found is not None
    assert (found["run"]["status"], [(one["step"], one["waits_for"]) for one in found["steps"]]) == (
        "waiting",
        [("paid?", "w")],
    )


def test_its_result_replaces_the_facts(connected: Callable[[], Cluster], logs: Logs) -> None:
    logs["runs"], logs["results"] = [started("w:1", 1_000)], [finished("w:1", 1_000, "failed")]
    [run] = runlog.summaries(connected(), workflow=None, status=None, key=None, limit=9)
    assert (run["status"], run["attempts"], "result" in run) == ("failed", 2, False)


def test_runs_are_chosen_by_workflow_status_and_key(connected: Callable[[], Cluster], logs: Logs) -> None:
    logs["runs"] = [started("w:1", 1_000), started("x:2", 2_000, "x")]
    logs["results"] = [finished("w:3", 3_000)]
    assert listed(connected, workflow="x") == ["x:2"]
    assert listed(connected, status="running") == ["x:2", "w:1"]
    assert listed(connected, key="k", workflow="w") == ["w:1"]
    assert listed(connected, status="cancelled") == []


def test_one_run_comes_with_its_result_and_facts(connected: Callable[[], Cluster], logs: Logs) -> None:
    logs["runs"] = [started("w:1", 1_000), started("w:2", 1_000), retried("w:1")]
    logs["results"] = [finished("w:2", 1_000), finished("w:1", 1_000)]
    found = runlog.one(connected(), "w:1")
    assert found is not None
    assert (found["run"]["result"], [fact["fact"] for fact in found["facts"]]) == (7, ["run_started", "run_retried"])


def test_a_run_without_a_result_is_what_its_facts_say(connected: Callable[[], Cluster], logs: Logs) -> None:
    logs["runs"] = [started("w:1", 1_000)]
    found = runlog.one(connected(), "w:1")
    assert found is not None
    assert (found["run"]["status"], "result" in found["run"]) == ("running", False)
    assert runlog.one(connected(), "w:2") is None


def test_records_of_others_do_no_harm(connected: Callable[[], Cluster], logs: Logs) -> None:
    odd = [b"{", b"[]", b"{}", b'{"run_id": 1}', b""]
    logs["runs"] = [record("runs", None, value) for value in odd]
    logs["results"] = [record("results", None, value) for value in odd]
    assert listed(connected) == []


def test_the_summary_is_the_gateways() -> None:
    from app.gateway.schemas import RunSummary

    assert tuple(RunSummary.model_fields) == runlog._SUMMARY
