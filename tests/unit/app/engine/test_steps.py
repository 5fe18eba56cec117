"""Steps: what is asked for, what becomes of it, and that the journal holds it before anybody hears of it."""

from typing import Any

import orjson
import pytest

from app.engine import timers
from app.engine.asks import (
    Execute,
    Fault,
    Kind,
    Note,
    Outcome,
    Recorded,
    Sleep,
)
from app.engine.effects import Go, Resolve, Rise
from app.engine.inputs import StepEnded
from app.engine.outgoing import Record
from app.engine.state import RunStatus
from tests.unit.app.engine.partition import NOW, Partition, event, facts, failure, flow
from topics import journal

CALL = Execute(max_retries=2, base_delay_ms=1_000, max_delay_ms=10_000)
HOUR = 3_600_000


def begun(*, key: str | None = None, committed: bool = True, **options: Any) -> tuple[Partition, str]:
    """A partition with one run."""
    partition = Partition(flow(**options))
    (run,) = partition.read(event(0, key=key))
    if committed:
        partition.commit()
    return partition, run


def crashed(partition: Partition, *workflows: Any) -> Partition:
    """What the next owner knows, with its workflows loaded."""
    return partition.takeover(*(workflows or partition.state.loaded.values()))


def done(key: str, value: bytes = b"1", *, kind: Kind = Kind.RUN, about: str | None = None) -> Recorded:
    names = {Kind.RUN: "Execute", Kind.NOTE: "Note", Kind.SLEEP: "Sleep", Kind.SUSPEND: "Suspend"}
    return Recorded(key=key, kind=kind, about=about or f"{names[kind]} {key}", outcome=Outcome(value))


def step_values(partition: Partition) -> list[dict[str, Any]]:
    return [orjson.loads(value) for key, value in partition.journal.items() if key.startswith(b"step:")]


# --- notes ----------------------------------------------------------------------------------------------------------


def test_a_note_is_told_only_once_it_is_journaled() -> None:
    partition, run = begun(committed=False)

    partition.ask(run, "now", Note(b"17"))

    assert partition.after == [Resolve(partition.run(run), "now", Outcome(b"17"))]
    partition.commit()
    assert partition.entity(journal.step_key(run, 0)) == {
        "r": 1,
        "s": "done",
        "k": "now",
        "t": "note",
        "f": "Note now",
        "a": 0,
        "at": NOW,
        "v": 17,
    }
    (risen,) = crashed(partition).told()
    assert isinstance(risen, Rise)
    assert risen.recorded == (done("now", b"17", kind=Kind.NOTE),)


def test_a_quiet_note_is_told_to_nobody_and_recorded_only_if_its_run_goes_on() -> None:
    partition, run = begun(committed=False)
    record = Record("events", 0, None, b"{}", ())
    partition.ask(run, "tell", Note(b'"id"', (record,), quiet=True))
    partition.complete(run)

    outgoing = partition.committed()
    assert (partition.after, outgoing.records, outgoing.runs) == ([], [record], [])
    assert partition.kinds() == {"out": 1, "known": 1, "head": 1}


# --- functions ------------------------------------------------------------------------------------------------------


def test_a_function_is_executed_after_the_round_and_its_result_told_after_the_next() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)

    assert partition.told() == [Go(partition.run(run), "call", 1)]
    assert partition.commit() is None  # nothing of it is to be remembered before it has ended
    assert partition.run(run).status is RunStatus.RUNNING

    partition.now += 30
    partition.step_ends(run, "call", b'{"a":  1}')
    assert partition.told() == [Resolve(partition.run(run), "call", Outcome(b'{"a":  1}'))]
    (fact,) = facts(partition.committed())
    assert fact == {
        "fact": "step_finished",
        "run_id": run,
        "workflow_id": "charge",
        "at": "2026-01-31T12:00:00.030Z",
        "step": "call",
        "kind": "run",
        "what": "Execute call",
        "asked_at": "2026-01-31T12:00:00.000Z",
        "started_at": "2026-01-31T12:00:00.000Z",
        "finished_at": "2026-01-31T12:00:00.030Z",
        "attempts": 1,
        "error": None,
    }
    (risen,) = crashed(partition).told()
    assert isinstance(risen, Rise)
    assert risen.recorded == (done("call", b'{"a":  1}'),)


def test_a_function_that_failed_is_tried_again_and_then_fails_for_good() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.told()
    for attempt in (2, 3):
        partition.step_ends(run, "call", why=failure(f"no luck {attempt}"))
        assert partition.told() == []
        assert partition.run(run).status is RunStatus.WAITING
        (told,) = facts(partition.committed())
        assert (told["fact"], told["attempt"], told["error"]["message"]) == (
            "step_retried",
            attempt - 1,
            f"no luck {attempt}",
        )
        due_ms = timers.next_due_ms(partition.state)
        assert due_ms is not None
        partition.wait(due_ms - partition.now)
        assert partition.told() == [Go(partition.run(run), "call", attempt)]
    partition.step_ends(run, "call", why=failure("the last"))

    fault = Outcome(None, Fault("ValueError", "the last"))
    assert partition.told() == [Resolve(partition.run(run), "call", fault)]
    partition.commit()
    (risen,) = crashed(partition).told()
    assert isinstance(risen, Rise)
    assert [one.outcome for one in risen.recorded] == [fault]


@pytest.mark.parametrize("why", [failure(rejected=True), failure(final=True)])
def test_a_failure_that_no_retry_mends_is_final_at_once(why: Any) -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.told()
    partition.step_ends(run, "call", why=why)

    assert partition.told() == [Resolve(partition.run(run), "call", Outcome(None, Fault("ValueError", "no luck")))]


def test_a_retry_goes_on_after_a_takeover_once_its_time_has_come() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.step_ends(run, "call", why=failure(retry_after_ms=5_000))
    partition.commit()
    again = crashed(partition)
    assert (again.run(run).status, again.told()) == (RunStatus.COLD, [])

    again.wait(5_000)

    (risen,) = again.told()
    assert isinstance(risen, Rise)
    assert [(one.key, one.outcome) for one in risen.recorded] == [("call", None)]
    again.ask(run, "call", CALL)
    assert again.told() == [Go(again.run(run), "call", 2)]


def test_what_an_attempt_had_begun_is_begun_anew_by_the_next() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.fail(run)
    partition.commit()
    partition.told()

    assert partition.wait(60_000) == [run]
    partition.give(StepEnded(run, 1, "call", b"1"))  # of the attempt before: it counts no more
    partition.ask(run, "call", CALL)
    assert partition.told() == [Go(partition.run(run), "call", 1)]


# --- sleep ----------------------------------------------------------------------------------------------------------


def test_a_run_that_sleeps_waits_and_goes_on_at_its_time() -> None:
    partition, run = begun()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    assert (partition.run(run).status, partition.state.running, partition.state.run_bytes) == (RunStatus.WAITING, 0, 0)
    (told,) = facts(partition.committed())
    assert (told["fact"], told["kind"], told["until"]) == ("step_waiting", "sleep", "2026-01-31T13:00:00.000Z")
    assert partition.entity(journal.run_key(run))["status"] == "waiting"

    partition.wait(HOUR - 1)
    assert partition.told() == []
    partition.wait(1)
    assert partition.told() == [Resolve(partition.run(run), "nap", Outcome(b"null"), woken=True)]
    assert (partition.run(run).status, partition.state.running) == (RunStatus.RUNNING, 1)
    partition.commit()
    assert partition.entity(journal.run_key(run))["status"] == "running"


def test_a_sleep_survives_takeovers_and_costs_no_function_until_it_is_over() -> None:
    partition, run = begun()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    again = crashed(crashed(partition))
    assert (again.run(run).status, again.in_hand, again.told()) == (RunStatus.COLD, {}, [])
    assert again.run(run).events == ()

    again.wait(HOUR)

    assert again.told() == []  # what the sleep came to is journaled first
    again.commit()
    again.give()
    (risen,) = again.told()
    assert isinstance(risen, Rise)
    assert risen.recorded == (done("nap", b"null", kind=Kind.SLEEP),)
    assert again.run(run).events == (event(0),)


def test_nothing_is_left_of_a_run_that_has_ended() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.step_ends(run, "call")
    partition.commit()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    partition.complete(run)
    partition.commit()

    assert partition.kinds() == {"out": partition.kinds()["out"], "known": 1, "head": 1}
    assert (partition.state.runs, partition.state.running, partition.state.run_bytes) == ({}, 0, 0)
