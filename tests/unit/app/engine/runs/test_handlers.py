"""`on_failure`: one event when a run failed for good, to the workflow that is named."""

from typing import Any

import orjson
import pytest

from app.engine.inputs import Evicted
from app.engine.runs import handlers
from app.engine.values.asks import Suspend
from app.engine.values.outgoing import Outgoing
from headgate.definition import Workflow
from tests.unit.app.engine.partition import Partition, dead, event, failure, flow, of_topic, run_id
from tests.unit.app.engine.steps.test_children import produced
from topics.envelope import Envelope

TOLD = flow("told", None)
FLOW = flow("charge", on_failure=TOLD, max_retries=1)


def handled(outgoing: Outgoing) -> list[dict[str, Any]]:
    return [one.data for one in produced(outgoing)]


@pytest.mark.parametrize("status", ["failed", "rejected"])
def test_a_run_that_failed_for_good_starts_its_handler_once(status: str) -> None:
    partition = Partition(FLOW, TOLD)
    (run,) = partition.read(event(0, data={"id": 7}, key="k"))
    partition.fail(run, failure("no luck", final=status == "failed", rejected=status == "rejected"))
    outgoing = partition.committed()

    (told,) = produced(outgoing)
    assert (told.id, told.topic, told.source, told.key) == (
        f"{run}#failed",
        "headgate/start/told",
        "headgate/charge",
        None,
    )
    assert told.data == {
        "run_id": run,
        "workflow_id": "charge",
        "status": status,
        "error": {"type": "ValueError", "message": "no luck", "traceback": None},
        "events": [event(0, data={"id": 7}, key="k").payload()],
    }
    (handler,) = partition.read(told)
    assert partition.read(told._replace(offset=2)) == []
    partition.fail(handler, failure(final=True))
    assert handled(partition.committed()) == []


def test_a_run_that_is_tried_again_or_cancelled_or_completed_starts_none() -> None:
    partition = Partition(FLOW, TOLD)
    first, second = partition.read(event(0), event(1))
    partition.fail(first)
    partition.complete(second)
    assert handled(partition.committed()) == []
    partition.read(event(2, "headgate/cancel", key=first))
    assert handled(partition.committed()) == []


def test_a_handler_that_fails_starts_no_other() -> None:
    partition = Partition(flow("charge", on_failure="told"), flow("told", None, on_failure="charge"))
    (run,) = partition.read(event(0))
    partition.fail(run, failure(final=True))
    (handler,) = partition.read(*produced(partition.committed()))
    partition.fail(handler, failure(final=True))
    assert handled(partition.committed()) == []


def test_what_is_too_large_for_an_event_is_told_without_the_data() -> None:
    partition = Partition(FLOW, event_bytes=2_000)
    (run,) = partition.read(event(0, data="x" * 2_000))
    partition.fail(run, failure(final=True))
    (told,) = handled(partition.committed())
    assert (told["omitted"], [one["data"] for one in told["events"]]) == (True, [None])


def test_what_is_nested_too_deep_is_told_without_the_data() -> None:
    deep: Any = 1
    for _ in range(199):
        deep = [deep]
    partition = Partition(FLOW)
    (run,) = partition.read(event(0, data=deep))
    partition.fail(run, failure(final=True))
    (told,) = handled(partition.committed())
    assert (told["omitted"], [one["data"] for one in told["events"]]) == (True, [None])


def test_an_owner_without_the_code_knows_the_handler() -> None:
    partition = Partition(flow("charge", on_failure="told", timeout=1))
    (run,) = partition.read(event(0))
    partition.ask(run, "approve", Suspend(data=b"null", deadline_ms=None))
    partition.commit()
    partition.give(Evicted([run]))
    partition.recalls = False
    partition.wait(2_000)
    assert of_topic(partition.committed(), "events") == []
    other = partition.takeover()
    (told,) = handled(other.committed())
    assert (told["run_id"], told["error"]["type"]) == (run, "WorkflowTimeout")


def told_of(*workflows: Workflow, offset: int = 0) -> tuple[str, Envelope]:
    """Return a run that failed, and the event for its handler."""
    partition = Partition(*workflows)
    (run,) = partition.read(event(offset))
    partition.fail(run, failure(final=True))
    (told,) = produced(partition.committed())
    return run, told


def test_a_handler_that_is_announced_and_loaded_elsewhere_is_waited_for() -> None:
    _, told = told_of(FLOW, TOLD)
    other = Partition(announced=[TOLD])
    assert other.read(told) == []
    assert dead(other.committed()) == []
    assert other.load(TOLD) == [run_id("told", told)]


def test_a_handler_that_the_failed_run_knew_is_waited_for_where_it_is_not_heard_of_yet() -> None:
    _, told = told_of(FLOW, TOLD)
    other = Partition(FLOW)
    assert other.read(told) == []
    assert dead(other.committed()) == []
    assert other.load(FLOW, TOLD) == [run_id("told", told)]


def test_a_handler_that_nobody_ever_announced_has_a_dead_letter_that_says_all() -> None:
    run, told = told_of(FLOW)
    other = Partition(FLOW)
    assert other.read(told) == []
    (letter,) = dead(other.committed())
    assert (letter["code"], letter["workflow_id"]) == ("no_such_workflow", "told")
    assert letter["reason"] == (
        f"no workflow 'told' was known when the event came; 'charge' names it in on_failure, and run {run!r} has failed"
    )
    assert letter["remedy"] == "start a worker that loads 'told', then produce the event again with a new id"
    assert orjson.loads(letter["value"])["data"]["events"] == [event(0).payload()]


def test_a_handler_that_was_known_and_finds_no_room_to_wait_is_no_unknown_one() -> None:
    first, second = told_of(FLOW, TOLD), told_of(FLOW, TOLD, offset=1)
    other = Partition(FLOW, asleep_events=10)
    assert other.read(first[1], second[1]) == []
    (letter,) = dead(other.committed())
    assert (letter["code"], letter["workflow_id"]) == ("too_many_asleep", "told")
    assert letter["reason"] == (
        "workflow 'told' is not announced here yet, and 1 events of this partition wait for such workflows already; "
        f"'charge' names it in on_failure, and run {second[0]!r} has failed"
    )
    assert letter["remedy"] == (
        "start a worker that loads 'told', then produce the event again with a new id. Events for 100 such workflows "
        "may wait, and a tenth of limits.asleep_events in all"
    )
    assert other.state.counters.overslept == 1
    assert other.load(FLOW, TOLD) == [run_id("told", first[1])]


@pytest.mark.parametrize("header", [b"", b"{}", b"[1]", b'["another:run","charge",true]', None])
def test_a_header_that_does_not_fit_its_event_means_nothing(header: bytes | None) -> None:
    _, told = told_of(FLOW, TOLD)
    headers = tuple((name, header if name == handlers.HEADER else raw) for name, raw in told.raw_headers)
    other = Partition(FLOW)
    other.read(told._replace(raw_headers=headers))
    assert [one["code"] for one in dead(other.committed())] == ["no_such_workflow"]
