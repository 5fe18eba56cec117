"""Steps: what is asked for, what becomes of it, and that the journal holds it before anybody hears of it."""

from typing import Any

import pytest

from app.engine.effects import Effects, Go, Resolve, Rise
from app.engine.inputs import StepAsked, StepEnded
from app.engine.steps import ends, steps
from app.engine.tables import timers
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Fault, Kind, Note, Outcome, Recorded, Sleep, Suspend
from app.engine.values.outgoing import Record
from tests.unit.app.engine.onerun import CALL, HOUR, begun, crashed, resumed
from tests.unit.app.engine.partition import NOW, Partition, event, facts, failure, flow, summary
from topics import journal


def done(key: str, value: bytes = b"1", *, kind: Kind = Kind.RUN, about: str | None = None) -> Recorded:
    names = {Kind.RUN: "Execute", Kind.NOTE: "Note", Kind.SLEEP: "Sleep", Kind.SUSPEND: "Suspend"}
    return Recorded(key=key, kind=kind, about=about or f"{names[kind]} {key}", outcome=Outcome(value))


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


@pytest.mark.parametrize("aside", [False, True])
def test_a_quiet_note_of_a_task_aside_says_that_the_order_of_its_run_is_free(aside: bool) -> None:
    partition, run = begun()
    partition.ask(run, "tell", Note(b'"id"', quiet=True), aside=aside)
    partition.commit()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()

    again = crashed(partition)
    assert partition.run(run).steps.par is aside  # type: ignore[union-attr]
    assert again.run(run).status is (RunStatus.RUNNING if aside else RunStatus.COLD)
    again.wait(HOUR)
    again.commit()
    again.give()
    (risen,) = (one for one in again.told() if isinstance(one, Rise))
    assert [(one.key, one.par) for one in risen.recorded] == [("tell", aside), ("nap", False)]


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


def test_a_function_that_goes_on_for_a_second_is_told_of_once_and_again_in_its_next_attempt() -> None:
    partition, run = begun()
    for key in ("quick", "slow"):
        partition.ask(run, key, CALL, aside=True)
    partition.give(after_ms=600)
    partition.step_ends(run, "quick")
    assert [one["fact"] for one in facts(partition.committed())] == ["step_finished"]
    partition.give(after_ms=399)
    assert partition.commit() is None
    assert timers.next_told_ms(partition.state) == partition.now + 1
    partition.give(after_ms=1)
    (fact,) = facts(partition.committed())
    assert fact == {
        "fact": "step_started",
        "run_id": run,
        "workflow_id": "charge",
        "at": "2026-01-31T12:00:01.000Z",
        "step": "slow",
        "kind": "run",
        "what": "Execute slow",
        "attempt": 1,
        "asked_at": "2026-01-31T12:00:00.000Z",
        "started_at": "2026-01-31T12:00:00.000Z",
    }
    partition.give(after_ms=60_000)
    assert partition.commit() is None
    assert timers.next_told_ms(partition.state) is None

    partition.step_ends(run, "slow", why=failure(retry_after_ms=50))
    partition.give(after_ms=50)
    partition.commit()
    partition.give(after_ms=1_000)
    assert [(one["fact"], one["attempt"]) for one in facts(partition.committed())] == [("step_started", 2)]


def test_a_function_that_is_begun_anew_by_the_next_owner_is_told_of_as_of_then() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.give(after_ms=900)
    again = crashed(partition)
    again.ask(run, "call", CALL)
    again.give(after_ms=999)
    again.commit()
    again.give(after_ms=1)
    (fact,) = facts(again.committed())
    assert (fact["fact"], fact["started_at"]) == ("step_started", "2026-01-31T12:00:00.900Z")


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
        assert (told["kind"], told["what"], told["asked_at"]) == ("run", "Execute call", "2026-01-31T12:00:00.000Z")
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
    assert partition.told() == [Resolve(partition.run(run), "nap", Outcome(b"null"), woken=True, ahead=True)]
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


def test_a_run_that_ends_in_the_round_in_which_its_sleep_is_over_tells_of_both_and_costs_one_append() -> None:
    partition, run = begun()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    commits = len(partition.commits)
    partition.wait(HOUR)
    partition.complete(run)
    assert [one["fact"] for one in facts(partition.committed())] == ["step_finished", "run_finished"]
    assert len(partition.commits) == commits + 1
    assert partition.kinds() == {"out": partition.kinds()["out"], "known": 1, "head": 1}


def test_what_a_sleep_came_to_is_told_once_though_its_run_goes_on_ahead() -> None:
    partition, run = begun()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    partition.wait(HOUR)
    partition.ask(run, "again", Sleep(until_ms=NOW + 2 * HOUR))
    told = [(one["fact"], one["step"]) for one in facts(partition.committed())]
    assert told == [("step_finished", "nap"), ("step_waiting", "again")]


def test_no_function_of_a_step_is_called_while_what_its_run_went_on_with_is_not_journaled() -> None:
    partition, run = begun()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    partition.wait(HOUR)
    partition.told()
    partition.ask(run, "call", CALL)
    (first,) = partition.told()
    assert isinstance(first, Go)
    assert not ends.may_go_at_once(first)
    partition.commit()
    partition.step_ends(run, "call")
    partition.commit()
    partition.ask(run, "other", CALL)
    _, other = partition.told()
    assert isinstance(other, Go)
    assert ends.may_go_at_once(other)


def test_a_run_goes_on_ahead_only_from_a_wait_that_the_journal_knows_and_that_is_its_only_one() -> None:
    partition, run = begun()
    partition.ask(run, "nap", Sleep(until_ms=NOW + 1_000))
    partition.wait(1_000)
    assert [one.ahead for one in partition.told() if isinstance(one, Resolve)] == [False]
    partition.commit()
    partition.ask(run, "one", Sleep(until_ms=NOW + 2_000))
    partition.ask(run, "two", Sleep(until_ms=NOW + 3_000))
    partition.commit()
    partition.wait(1_000)
    partition.commit()
    partition.wait(1_000)
    assert [one.ahead for one in partition.told() if isinstance(one, Resolve)] == [False, False]


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
    assert (len(partition.state.runs), partition.state.running, partition.state.run_bytes) == (0, 0, 0)


# --- suspended ------------------------------------------------------------------------------------------------------


def test_a_suspended_step_goes_on_with_what_somebody_says() -> None:
    partition, run = begun()
    partition.ask(run, "ok?", Suspend(data=b'{"sum":7}', deadline_ms=None))
    (told,) = facts(partition.committed())
    assert (told["fact"], told["step"], told["data"]) == ("step_waiting", "ok?", {"sum": 7})
    again = crashed(partition)

    assert resumed(again, run, "other", b"1") is False
    assert resumed(again, run, "ok?", b'"yes"') is True
    assert resumed(again, run, "ok?", b'"no"') is False
    again.commit()
    again.give()
    (risen,) = again.told()
    assert isinstance(risen, Rise)
    assert [one.outcome for one in risen.recorded] == [Outcome(b'"yes"')]


RESUME = Suspend(data=b"null", deadline_ms=NOW + HOUR, topic="headgate/resume/run/ok?")


def suspended() -> tuple[Partition, str]:
    partition, run = begun()
    partition.ask(run, "ok?", RESUME)
    partition.commit()
    return crashed(partition), run


def test_a_suspended_step_is_resumed_by_the_event_on_its_topic() -> None:
    partition, run = suspended()
    assert partition.state.runs[run].steps.open["ok?"].ask == RESUME  # type: ignore[union-attr]
    effects = Effects()
    steps.met(partition.state, run, "ok?", 0, event(1, data={"yes": True}), effects)
    partition.after += effects.after
    partition.give()
    partition.commit()
    partition.give()
    (risen,) = partition.told()
    assert isinstance(risen, Rise)
    assert [one.outcome for one in risen.recorded] == [Outcome(b'{"yes":true}')]


def test_the_time_of_a_suspended_step_is_over_when_its_wait_says_so() -> None:
    partition, run = suspended()
    partition.wait(2 * HOUR)
    assert partition.state.runs[run].steps.open  # type: ignore[union-attr]
    steps.expired(partition.state, run, "ok?", 0, Effects())
    partition.give()
    partition.commit()
    partition.give()
    (risen,) = partition.told()
    assert isinstance(risen, Rise)
    (outcome,) = [one.outcome for one in risen.recorded]
    assert outcome is not None
    assert outcome.fault is not None
    assert outcome.fault.type == "EventTimeout"


def test_nobody_resumed_a_step_in_time() -> None:
    partition, run = begun()
    partition.ask(run, "ok?", Suspend(data=b"null", deadline_ms=NOW + 1_000))
    partition.commit()
    partition.wait(1_000)

    (told,) = partition.told()
    assert isinstance(told, Resolve)
    assert told.outcome.fault is not None
    assert told.outcome.fault.type == "EventTimeout"


# --- limits ---------------------------------------------------------------------------------------------------------


def test_a_run_with_too_many_steps_fails_in_words() -> None:
    partition = Partition(flow(), steps_per_run=2)
    (run,) = partition.read(event(0))
    for n in range(2):
        partition.ask(run, f"s{n}", Note(b"1"))
    effects = partition.ask(run, "s2", Note(b"1"))

    assert [one.id for one in effects.cancels] == [run]
    ((_, how, message),) = summary(partition.committed())
    assert (how, message.startswith(f"run {run!r} has more than 2 steps (limits.steps_per_run)")) == ("failed", True)


def test_a_result_that_is_too_large_fails_its_step() -> None:
    partition = Partition(flow(), result_bytes=10)
    (run,) = partition.read(event(0))
    partition.ask(run, "call", CALL)
    partition.told()
    partition.step_ends(run, "call", b'"0123456789"')

    (told,) = partition.told()
    assert isinstance(told, Resolve)
    assert told.outcome.fault is not None
    assert told.outcome.fault.type == "ResultTooLarge"


def test_a_run_whose_steps_came_to_too_much_fails_in_words() -> None:
    partition = Partition(flow(), run_bytes=10)
    (run,) = partition.read(event(0))
    partition.ask(run, "a", Note(b'"01234567"'))
    partition.commit()
    partition.ask(run, "b", Note(b"1"))

    ((_, how, message),) = summary(partition.committed())
    assert (how, message.startswith(f"the steps of run {run!r} came to 11 bytes")) == ("failed", True)


def test_a_large_record_is_not_written_over_but_moves() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.step_ends(run, "call", why=failure(retry_after_ms=1_000))
    partition.commit()
    partition.wait(1_000)
    partition.step_ends(run, "call", b'"' + b"x" * 2_000 + b'"')
    partition.commit()

    assert [key for key in partition.journal if key.startswith(b"step:")] == [journal.step_key(run, 1)]
    (risen,) = crashed(partition).told()
    assert isinstance(risen, Rise)
    assert [one.key for one in risen.recorded] == ["call"]
    partition.complete(run)
    partition.commit()
    assert "step" not in partition.kinds()


def test_ten_thousand_sleeps_of_one_second_are_over_in_it() -> None:
    partition = Partition(flow())
    names = partition.read(*(event(n) for n in range(10_000)))
    partition.give(
        *(StepAsked(run, 1, "nap", "", Sleep(until_ms=NOW + 60_000 + n % 1_000)) for n, run in enumerate(names))
    )
    partition.commit()
    partition.told()
    woken = 0
    for _ in range(3):
        partition.wait(0 if woken else 61_000)
        partition.commit()
        woken += len(partition.told())
    assert woken == 10_000
