"""How runs end, are tried again and are told about: results, facts, dead letters and replies, as whole values."""

from typing import Any

import orjson
import pytest

from app.engine.effects import Rise
from app.engine.inputs import Ended, Failure
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Kind, Outcome, Recorded
from app.engine.values.outgoing import Outgoing, Record
from headgate import RetryLater
from headgate.definition import Workflow
from tests.unit.app.engine.partition import (
    NOW,
    Partition,
    dead,
    event,
    facts,
    failure,
    flow,
    of_topic,
    results,
    summary,
)
from topics import codec, foreign
from topics.envelope import Envelope
from topics.facts import result_headers

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def one_run(
    *workflows: Workflow, envelope: Envelope | None = None, committed: bool = False, **limits: Any
) -> tuple[Partition, str]:
    partition = Partition(*(workflows or [flow()]), **limits)
    (run,) = partition.read(envelope or event(0))
    if committed:
        partition.commit()
    return partition, run


def attempts(partition: Partition, run: str, why: Failure | None = None) -> list[int]:
    """Let every attempt fail until the run is over; return the waits before each attempt."""
    waits: list[int] = []
    while True:
        partition.fail(run, why)
        if run not in partition.state.runs:
            return waits
        waits.append(partition.run(run).due_ms - partition.now)
        assert partition.wait(waits[-1] - 1) == []
        assert partition.wait(1) == [run]


# --- results --------------------------------------------------------------------------------------------------------


def test_a_result_has_all_that_its_run_knows() -> None:
    partition = Partition(flow(version="7"))
    (run,) = partition.read(event(4, id="e1", key="k", traceparent=PARENT))
    partition.now += 250
    partition.complete(run, result=b'{"receipt":[1,2]}')

    outgoing = partition.committed()

    ((key, value, shared, parent),) = outgoing.results
    assert orjson.loads(value) == {
        "run_id": run,
        "workflow_id": "charge",
        "workflow_version": "7",
        "status": "completed",
        "result": {"receipt": [1, 2]},
        "error": None,
        "events": [{"id": "e1", "topic": "orders/created", "partition": 0, "offset": 4}],
        "key": "k",
        "started_at": "2026-01-31T12:00:00.000Z",
        "finished_at": "2026-01-31T12:00:00.250Z",
        "attempts": 1,
    }
    digest = run.removeprefix("charge:")
    assert (key, parent) == (run.encode(), PARENT)
    assert dict(result_headers(key, shared, parent)) == {
        "ce_specversion": b"1.0",
        "ce_source": b"headgate/charge",
        "ce_type": b"headgate.run.completed",
        "content-type": b"application/json",
        "ce_id": run.encode(),
        "ce_time": b"2026-01-31T12:00:00.250Z",
        "traceparent": f"00-0af7651916cd43dd8448eb211c80319c-{digest[:16]}-01".encode(),
    }
    assert (outgoing.runs, outgoing.records, outgoing.round) == ([], [], 1)
    assert partition.state.counters.ended == {("charge", "completed"): 1}


def test_a_run_without_a_result_has_null() -> None:
    partition, run = one_run()
    partition.give(Ended(run, 1, None))

    assert [one["result"] for one in results(partition.committed())] == [None]


# --- attempts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_retries", [0, 1, 3])
def test_a_run_is_tried_again_so_often_and_then_has_failed(max_retries: int) -> None:
    partition, run = one_run(flow(max_retries=max_retries))

    waits = attempts(partition, run)

    assert len(waits) == max_retries
    outgoing = partition.committed()
    assert summary(outgoing) == [(run, "failed", "no luck")]
    (found,) = results(outgoing)
    assert (found["attempts"], found["error"]) == (
        max_retries + 1,
        {"type": "ValueError", "message": "no luck", "traceback": None},
    )
    (letter,) = dead(outgoing)
    assert (letter["code"], letter["reason"], letter["run_id"], letter["workflow_id"]) == (
        "run_failed",
        "ValueError: no luck",
        run,
        "charge",
    )
    assert partition.state.runs == {}


def test_waits_between_attempts_grow_within_bounds_and_are_the_same_each_time() -> None:
    partition, run = one_run(flow(max_retries=9), retry_base_ms=100, retry_max_ms=3_000)
    waits = attempts(partition, run)
    other, _ = one_run(flow(max_retries=9), retry_base_ms=100, retry_max_ms=3_000)

    assert waits == attempts(other, run)
    assert len(set(waits)) == 9
    assert all(10 <= wait <= min(3_000, 100 * 2**n) for n, wait in enumerate(waits))


def test_retry_later_chooses_the_wait_and_counts_as_an_attempt() -> None:
    partition, run = one_run(flow(max_retries=2))

    assert attempts(partition, run, failure(retry_after_ms=123_456)) == [123_456, 123_456]
    assert results(partition.committed())[0]["attempts"] == 3


@pytest.mark.parametrize(
    ("max_retries", "asked", "expected"),
    [
        (2, RetryLater(0.2), "asked for another try after 3 attempts; max_retries=2 allows no more"),
        (0, RetryLater(5, "a: b"), "asked for another try after 1 attempt; max_retries=0 allows no more: a: b"),
    ],
)
def test_a_run_that_used_up_its_tries_by_retry_later_says_so(
    max_retries: int, asked: RetryLater, expected: str
) -> None:
    partition, run = one_run(flow(max_retries=max_retries))
    attempts(partition, run, failure(str(asked), kind="RetryLater", retry_after_ms=200))

    outgoing = partition.committed()
    assert summary(outgoing) == [(run, "failed", expected)]
    assert [one["reason"] for one in dead(outgoing)] == [f"RetryLater: {expected}"]


def test_a_rejected_run_is_not_tried_again() -> None:
    partition, run = one_run(flow(max_retries=5), envelope=event(0, data=1, key="k", correlation_id="c"))
    partition.fail(run, failure("too small", kind="Reject", rejected=True))

    outgoing = partition.committed()
    assert summary(outgoing) == [(run, "rejected", "too small")]
    assert dead(outgoing) == [
        {
            "code": "run_rejected",
            "reason": "Reject: too small",
            "remedy": "mend workflow 'charge' or the event, then produce the event again with a new id",
            "source": {
                "topic": "headgate.events",
                "partition": 0,
                "offset": 0,
                "timestamp": "2026-01-31T12:00:00.000Z",
            },
            "key": "k",
            "value": '{"topic":"orders/created","data":1}',
            "headers": [["correlation_id", "c"]],
            "encoding": {"key": "utf-8", "value": "utf-8", "headers": ["utf-8"]},
            "run_id": run,
            "workflow_id": "charge",
            "at": "2026-01-31T12:00:00.000Z",
        }
    ]
    assert partition.state.runs == {}


def test_what_no_retry_mends_fails_at_once() -> None:
    partition, run = one_run(flow(max_retries=5))
    partition.fail(run, failure("no JSON", kind="ResultNotJson", final=True))

    assert summary(partition.committed()) == [(run, "failed", "no JSON")]


def test_every_event_of_a_failed_batch_is_a_dead_letter() -> None:
    partition = Partition(flow(batch_size=3, max_retries=0))
    (run,) = partition.read(event(0), event(1), event(2))
    partition.fail(run)

    outgoing = partition.committed()
    assert [one["source"]["offset"] for one in dead(outgoing)] == [0, 1, 2]
    assert len(outgoing.results) == 1


def test_a_failed_attempt_is_told_and_the_run_begins_before_it_in_the_facts() -> None:
    partition, run = one_run(committed=True)
    partition.fail(run)
    due = partition.run(run).due_ms

    (fact,) = facts(partition.committed())
    assert fact == {
        "fact": "run_retried",
        "run_id": run,
        "workflow_id": "charge",
        "at": "2026-01-31T12:00:00.000Z",
        "attempt": 1,
        "error": {"type": "ValueError", "message": "no luck", "traceback": None},
        "retry_at": f"2026-01-31T12:00:00.{due - NOW:03}Z",
    }


def test_a_run_that_fails_in_its_first_round_is_told_in_the_order_in_which_it_happened() -> None:
    partition, run = one_run()
    partition.fail(run)

    assert [one["fact"] for one in facts(partition.committed())] == ["run_started", "run_retried"]
    partition.wait(2_000)
    assert facts(partition.committed()) == []
    partition.complete(run)
    assert [one["fact"] for one in facts(partition.committed())] == ["run_finished"]


@pytest.mark.parametrize("end", ["complete", "deadline"])
def test_a_run_that_fails_and_ends_in_its_first_round_is_told_from_start_to_finish(end: str) -> None:
    partition, run = one_run(flow(timeout=5))
    partition.fail(run)
    if end == "complete":
        partition.wait(2_000)
        partition.complete(run)
    else:
        partition.wait(5_000)

    assert [one["fact"] for one in facts(partition.committed())] == ["run_started", "run_retried", "run_finished"]
    assert partition.kinds() == {"out": 1, "known": 1, "head": 1}


# --- deadlines ------------------------------------------------------------------------------------------------------


def test_a_run_that_takes_too_long_fails_and_its_attempt_is_stopped() -> None:
    partition, run = one_run(flow(timeout=2.5), committed=True)

    assert partition.wait(2_499) == []
    effects = partition.give(after_ms=1)
    assert [one.id for one in effects.cancels] == [run]
    outgoing = partition.committed()
    message = "the run took longer than the 2.5 s that timeout= of workflow 'charge' allows"
    assert summary(outgoing) == [(run, "failed", message)]
    assert results(outgoing)[0]["error"]["type"] == "WorkflowTimeout"
    assert [one["code"] for one in dead(outgoing)] == ["run_failed"]
    assert (len(partition.state.runs), partition.state.running) == (0, 0)


def test_a_run_that_waits_for_its_next_attempt_is_over_at_its_deadline_too() -> None:
    partition, run = one_run(flow(timeout=10))
    partition.fail(run, failure(retry_after_ms=60_000))

    effects = partition.give(after_ms=10_000)
    assert (effects.cancels, effects.starts) == ([], [])
    assert results(partition.committed())[0]["attempts"] == 1
    assert partition.wait(60_000) == []
    assert (len(partition.state.runs), partition.state.running) == (0, 0)


def test_an_attempt_that_is_due_together_with_the_deadline_does_not_begin() -> None:
    partition, run = one_run(flow(timeout=10))
    partition.fail(run, failure(retry_after_ms=5_000))

    assert partition.wait(20_000) == []
    assert [one[:2] for one in summary(partition.committed())] == [(run, "failed")]
    assert partition.state.running == 0


def test_a_deadline_counts_from_the_start_of_the_run_also_after_a_takeover() -> None:
    timed = flow(timeout=10)
    partition, run = one_run(timed, committed=True)
    partition.wait(9_000)

    other = partition.takeover(timed)
    assert other.wait(999) == []
    assert other.in_hand == {run: 1}
    assert [one.id for one in other.give(after_ms=1).cancels] == [run]
    assert other.state.runs == {}


@pytest.mark.parametrize("timeout", [None, 60])
def test_a_reloaded_workflow_brings_its_own_deadline_for_what_waits(timeout: int | None) -> None:
    partition, run = one_run(flow(timeout=10))
    partition.fail(run, failure(retry_after_ms=20_000))
    partition.load(flow(timeout=timeout))

    assert partition.wait(20_000) == [run]
    partition.wait(100_000)
    assert (run in partition.state.runs) == (timeout is None)


# --- what comes too late --------------------------------------------------------------------------------------------


def test_the_end_of_an_attempt_that_is_over_counts_no_more() -> None:
    partition, run = one_run(flow(timeout=10), committed=True)
    partition.fail(run)
    partition.give(Ended(run, 1, b"1"))  # while it waits
    partition.wait(2_000)
    partition.give(Ended(run, 1, b"1"))  # while its next attempt goes on
    assert partition.run(run).attempt == 2
    partition.wait(10_000)
    partition.give(Ended(run, 2, b"2"))  # after its deadline
    partition.give(Ended("unknown:" + "0" * 24, 1, b"1"))

    outgoing = partition.committed()
    assert [one[:2] for one in summary(outgoing)] == [(run, "failed")]
    assert partition.state.counters.ended == {("charge", "failed"): 1}


def test_what_comes_too_late_changes_nothing() -> None:
    partition, run = one_run()
    partition.complete(run)
    partition.commit()

    partition.give(Ended(run, 1, b"1"))

    assert partition.commit() is None


def told(run: str, key: str) -> Recorded:
    """What a function that is called anew is told of an event that it published."""
    outcome = Outcome(orjson.dumps(f"{run}:{key}"))
    return Recorded(key=key, kind=Kind.NOTE, about=f"Note {key}", outcome=outcome)


# --- published events -----------------------------------------------------------------------------------------------


def test_a_published_event_goes_out_once_however_often_its_run_is_tried() -> None:
    partition, run = one_run()
    record = partition.publish(run)
    partition.fail(run)
    outgoing = partition.committed()
    assert of_topic(outgoing, "events") == [record]

    assert partition.wait(2_000) == []
    (risen,) = partition.told()
    assert risen == Rise(partition.run(run), (told(run, "tell"),))
    other = partition.publish(run, "more")
    assert of_topic(partition.committed(), "events") == [other]

    again = partition.takeover(flow())
    assert again.told() == [Rise(again.run(run), (told(run, "tell"), told(run, "more")))]


def test_a_run_that_ends_in_its_round_leaves_its_published_events_and_its_result_alone() -> None:
    partition, run = one_run()
    record = partition.publish(run)
    partition.complete(run)

    outgoing = partition.committed()
    assert (outgoing.records, len(outgoing.results), outgoing.runs) == ([record], 1, [])
    assert partition.kinds() == {"out": 1, "known": 1, "head": 1}


def test_what_an_older_attempt_publishes_counts_no_more() -> None:
    partition, run = one_run()
    partition.fail(run)
    partition.wait(2_000)

    partition.publish(run, attempt=1)

    assert partition.run(run).steps is None
    assert of_topic(partition.committed(), "events") == []


# --- replies --------------------------------------------------------------------------------------------------------


def replying(n: int = 0, topic: str = "answers", correlation: str | None = "c-1") -> Envelope:
    return event(n, reply_topic=topic, correlation_id=correlation)


@pytest.mark.parametrize("status", ["completed", "failed", "rejected"])
@pytest.mark.parametrize("correlation", ["c-1", None])
def test_a_reply_holds_the_result_of_its_run(status: str, correlation: str | None) -> None:
    partition, run = one_run(
        flow(max_retries=0), envelope=replying(correlation=correlation), reply_allowed=lambda one: one == "answers"
    )
    if status == "completed":
        partition.complete(run)
    else:
        partition.fail(run, failure(rejected=status == "rejected"))

    outgoing = partition.committed()
    (reply,) = [one for one in outgoing.records if one.foreign]
    headers: tuple[tuple[str, bytes], ...] = (("run_id", run.encode()), ("content-type", b"application/json"))
    if correlation is not None:
        headers = (("correlation_id", b"c-1"), *headers)
    key = None if correlation is None else b"c-1"
    assert reply == Record("answers", None, key, outgoing.results[0][1], headers, foreign=True)
    assert results(outgoing)[0]["status"] == status


def test_each_run_of_an_event_replies_and_each_event_of_a_batch_is_answered() -> None:
    partition = Partition(flow("a"), flow("b", batch_size=2), reply_allowed=lambda _one: True)
    partition.complete(*partition.read(replying(0, correlation="x"), replying(1, correlation="y")))

    found = [(one.key, orjson.loads(one.value or b"")["workflow_id"]) for one in partition.committed().records]
    assert sorted(found, key=str) == [(b"x", "a"), (b"x", "b"), (b"y", "a"), (b"y", "b")]


@pytest.mark.parametrize(
    ("topic", "remedy"),
    [
        ("answers", "add the topic to replies.allowed_topics, or ask for the reply on an allowed topic"),
        (
            "headgate.events",
            "name a topic outside headgate.*, whose topics are Headgate's own and take no replies",
        ),
        ("a b", f"give the name of a Kafka topic: {foreign.RULE}"),
    ],
)
def test_a_reply_that_is_not_allowed_is_a_dead_letter_and_the_run_a_result(topic: str, remedy: str) -> None:
    partition, run = one_run(envelope=replying(topic=topic))
    partition.complete(run)

    outgoing = partition.committed()
    assert summary(outgoing) == [(run, "completed", {"ok": True})]
    (letter,) = dead(outgoing)
    assert letter["code"] == "reply_refused"
    assert letter["reason"] == f"reply_topic {topic!r} is not allowed; the run {run!r} itself is in the results"
    assert letter["remedy"] == remedy
    assert len(outgoing.records) == 1


# --- the whole of it ------------------------------------------------------------------------------------------------


def test_running_counts_the_attempts_in_hand() -> None:
    partition = Partition(flow())
    one, two = partition.read(event(0), event(1))
    assert partition.state.running == 2
    partition.fail(one)
    assert (partition.state.running, partition.run(one).status) == (1, RunStatus.RETRYING)
    partition.wait(2_000)
    assert partition.state.running == 2
    partition.complete(one, two)
    assert partition.state.running == 0


def test_bytes_that_are_no_text_come_back_in_a_dead_letter_as_they_were() -> None:
    value, headers = b'{"topic":"orders/created","data":1}', [("x", b"\xff\x00"), ("y", None)]
    raw = codec.decode(value, None, headers, partition=0, offset=0, timestamp_ms=NOW, max_bytes=None)
    partition, run = one_run(flow(max_retries=0), envelope=raw, committed=True)

    again = partition.takeover(flow(max_retries=0))
    again.fail(run)

    (letter,) = dead(again.committed())
    assert (letter["headers"], letter["encoding"]["headers"]) == ([["x", "/wA="], ["y", None]], ["base64", None])


def test_nothing_goes_out_when_nothing_happened() -> None:
    assert not Outgoing(1)
    partition = Partition(flow())
    partition.commit()
    partition.wait(10)
    assert partition.commit() is None
