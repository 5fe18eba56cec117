"""Steps: what is asked for, what becomes of it, and that the journal holds it before anybody hears of it."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from app.engine.effects import Effects, Go, Resolve, Rise
from app.engine.inputs import Ended, Evicted, StepAsked, StepEnded
from app.engine.journal import snapshot
from app.engine.journal.restore import restore
from app.engine.runs import runs
from app.engine.steps import steps
from app.engine.tables import timers
from app.engine.tables.run import RunStatus
from app.engine.tables.state import policy_of
from app.engine.values.asks import Execute, Fault, Kind, Note, Outcome, Recorded, Sleep, Suspend
from app.engine.values.outgoing import Record
from tests.unit.app.engine.partition import NOW, Partition, canonical, event, facts, failure, flow, run_id, summary
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
    assert (len(partition.state.runs), partition.state.running, partition.state.run_bytes) == (0, 0, 0)


# --- suspended ------------------------------------------------------------------------------------------------------


def resumed(partition: Partition, run: str, key: str, value: bytes) -> bool:
    effects = Effects()
    found = steps.resume(partition.state, run, key, value, effects)
    partition.after += effects.after
    partition.give()
    return found


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


# --- what becomes of the run ----------------------------------------------------------------------------------------


def asleep(partition: Partition, run: str) -> None:
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()


def evicted(partition: Partition, run: str) -> None:
    asleep(partition, run)
    partition.give(Evicted([run]))


def retrying(partition: Partition, run: str) -> None:
    asleep(partition, run)
    partition.fail(run)


def stuck(partition: Partition, run: str) -> None:
    asleep(partition, run)
    partition.fail(run, failure("the code has changed", kind="HistoryMismatch", stuck=True))


def rising_(partition: Partition, run: str) -> None:
    evicted(partition, run)
    partition.recalls = False
    partition.wait(HOUR)


IN_STATUS: dict[RunStatus, Callable[[Partition, str], None]] = {
    RunStatus.RUNNING: lambda _partition, _run: None,
    RunStatus.WAITING: asleep,
    RunStatus.COLD: evicted,
    RunStatus.RETRYING: retrying,
    RunStatus.STUCK: stuck,
    RunStatus.WAKING: rising_,
}


def in_status(status: RunStatus, **options: Any) -> tuple[Partition, str]:
    partition, run = begun(**options)
    IN_STATUS[status](partition, run)
    assert partition.run(run).status is status
    partition.commit()
    partition.told()
    return partition, run


TABLE: list[tuple[RunStatus, str, str]] = [
    (status, given, becomes)
    for given, row in {
        "ask": "waiting waiting cold retrying stuck waking",
        "complete": "gone gone cold retrying stuck waking",
        "fail": "retrying retrying cold retrying stuck waking",
        "stick": "stuck stuck cold retrying stuck waking",
        "evict": "running cold cold retrying stuck waking",
        "step ended": "running waiting cold retrying stuck waking",
    }.items()
    for status, becomes in zip(IN_STATUS, row.split(), strict=True)
]


@pytest.mark.parametrize(("status", "given", "becomes"), TABLE)
def test_what_the_runtime_reports_of_a_run_in_each_status(status: RunStatus, given: str, becomes: str) -> None:
    partition, run = in_status(status)
    attempt = partition.run(run).attempt
    why = failure(kind="HistoryMismatch", stuck=True)
    told: Any = {
        "ask": StepAsked(run, attempt, "more", "", Sleep(until_ms=NOW + 2 * HOUR)),
        "complete": Ended(run, attempt, b"1"),
        "fail": Ended(run, attempt, None, failure()),
        "stick": Ended(run, attempt, None, why),
        "evict": Evicted([run]),
        "step ended": StepEnded(run, attempt, "nap", b"1"),
    }[given]

    partition.give(told)

    found = partition.state.runs.get(run)
    assert ("gone" if found is None else found.status.value) == becomes
    assert partition.state.running == (becomes == "running")


@pytest.mark.parametrize("taken_over", [False, True])
@pytest.mark.parametrize("status", list(IN_STATUS))
def test_the_deadline_of_a_run_ends_it_in_each_status(status: RunStatus, *, taken_over: bool) -> None:
    partition, run = in_status(status, timeout=2 * 3_600)
    if taken_over:
        partition = crashed(partition)
    partition.recalls = True
    partition.wait(2 * HOUR)
    partition.give()
    partition.commit()
    partition.give()  # what was journaled can be read back now

    found = [one for made in (*partition.commits, partition.commit()) if made for one in summary(made.outgoing)]
    message = "the run took longer than the 7200 s that timeout= of workflow 'charge' allows"
    assert found == [(run, "failed", message)]
    assert {"run", "step", "body"} & partition.kinds().keys() == set()
    assert (len(partition.state.runs), partition.state.runs.bodies, partition.state.run_bytes) == (0, {}, 0)


@pytest.mark.parametrize("status", [one for one in IN_STATUS if one is not RunStatus.RUNNING])
def test_the_end_of_a_workflow_ends_its_runs_in_each_status(status: RunStatus) -> None:
    partition, run = in_status(status)
    partition = crashed(partition, flow("other", "elsewhere"))
    partition.load(flow("other", "elsewhere"), retired={"charge": NOW + 9 * HOUR})
    partition.give()

    ((name, how, _),) = summary(partition.committed())
    assert (name, how) == (run, "cancelled")
    assert {"run", "step", "body"} & partition.kinds().keys() == set()


def test_a_stuck_run_says_so_and_goes_on_when_somebody_has_mended_its_code() -> None:
    partition, run = begun()
    stuck(partition, run)
    told = [one["fact"] for one in facts(partition.committed())]
    assert told == ["run_stuck"]
    again = crashed(partition)
    assert (again.run(run).status, again.state.stuck) == (RunStatus.STUCK, {run: "the code has changed"})

    assert runs.retry_stuck(again.state, run) is True
    assert runs.retry_stuck(again.state, run) is False
    again.give()
    (risen,) = again.told()
    assert isinstance(risen, Rise)
    assert [one["fact"] for one in facts(again.committed())] == ["run_resumed"]


@pytest.mark.parametrize(("order", "starts"), [("key", 1), ("strict", 0)])
@pytest.mark.parametrize("how", ["waits", "is stuck"])
def test_a_run_that_waits_or_is_stuck_keeps_back_others_of_its_key_only_in_strict_order(
    order: str, starts: int, how: str
) -> None:
    partition, run = begun(key="k", order=order)
    partition.read(event(1, key="k"))
    (asleep if how == "waits" else stuck)(partition, run)

    assert len(partition.in_hand) - (how == "waits") == starts
    again = crashed(partition)
    assert (run in {one.id for one in again.state.runs.values()}) is True
    assert (len(again.in_hand)) == starts


def test_a_run_that_was_told_something_when_it_was_dropped_is_called_anew() -> None:
    partition, run = begun()
    asleep(partition, run)
    partition.wait(HOUR)
    partition.commit()
    partition.give(Evicted([run]))
    partition.give()

    assert [type(one) for one in partition.told()] == [Resolve, Rise]


def test_a_function_that_may_do_other_things_is_called_anew_after_a_takeover() -> None:
    partition, run = begun()
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR), aside=True)
    partition.commit()
    assert partition.run(run).status is RunStatus.WAITING

    (risen,) = crashed(partition).told()
    assert isinstance(risen, Rise)


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


# --- snapshots, and crashes -----------------------------------------------------------------------------------------


def test_a_snapshot_holds_steps_as_the_journal_does() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.step_ends(run, "call", b'"' + b"x" * 3_000 + b'"')
    partition.commit()
    asleep(partition, run)
    partition.deliver(partition.state.round)
    partition.commit()
    partition.deliver(partition.state.round)
    assert snapshot.possible(partition.state)

    content = snapshot.encode(partition.state, next_offset=len(partition.log), about={})
    assert b"xxx" not in content
    found = snapshot.decode(content, policy_of(partition.limits))
    back = restore(found.entities, 0, partition.limits, journal_id="j", remembered=found.remembered).state
    whole = crashed(partition)
    again = whole.run(run).steps
    steps_back = back.runs[run].steps
    assert steps_back is not None
    assert again is not None
    assert partition.run(run).steps is not None
    assert steps_back.places == partition.run(run).steps.places  # type: ignore[union-attr]
    assert (list(steps_back.open), steps_back.asked, steps_back.resting) == (["nap"], 2, True)


PROGRAM: list[tuple[str, Any, str]] = [
    ("tell", Note(b'"id"', quiet=True), "quiet"),
    ("now", Note(b"5"), "noted"),
    ("call", CALL, "fails once"),
    ("nap", Sleep(until_ms=NOW + HOUR), "time"),
    ("ok?", Suspend(data=b"null", deadline_ms=NOW + 9 * HOUR), "resumed"),
]


@pytest.mark.parametrize("lost", range(12))
@pytest.mark.parametrize("evicts", [False, True])
def test_a_run_comes_to_its_end_wherever_its_owner_crashes(lost: int, *, evicts: bool) -> None:
    """Play a program of steps; the commit of one round never comes, and the next owner goes on from the one before."""
    partition, run = begun(timeout=None)
    commits = executed = 0
    recorded: dict[str, bytes | None] = {}
    asked: set[str] = set()
    finished = False
    for _ in range(200):
        if finished:
            break
        for key, ask, _how in PROGRAM:  # as its function does: the first step that is not recorded
            if key in recorded:
                continue
            in_memory = partition.run(run).status in (RunStatus.RUNNING, RunStatus.WAITING)
            if in_memory and key not in asked:
                asked.add(key)
                partition.ask(run, key, ask)
                if key == "tell":
                    recorded[key] = b'"id"'
                    continue
            break
        else:
            partition.complete(run)
            finished = True
        status = partition.state.runs[run].status if run in partition.state.runs else None
        if status is RunStatus.WAITING and evicts:
            partition.give(Evicted([run]))
        if commits == lost:
            partition = crashed(partition)
            partition.in_hand.setdefault(run, 1)
            commits += 1
            if run not in partition.in_hand or run not in partition.state.runs:
                break
            finished = False
            recorded = {}
            asked = set()
            partition.after += [
                one
                for one in [Rise(partition.run(run))]
                if not partition.after and partition.run(run).status is RunStatus.RUNNING
            ]
        else:
            commits += partition.commit() is not None
            partition.give()
        for told in partition.told():
            if isinstance(told, Resolve):
                recorded[told.key] = told.outcome.value
            elif isinstance(told, Rise):
                asked = set()
                recorded = {one.key: one.outcome.value for one in told.recorded if one.outcome is not None}
            elif isinstance(told, Go):
                executed += 1
                partition.step_ends(run, told.key, b"7", failure(retry_after_ms=1) if told.attempt == 1 else None)
        partition.wait(HOUR // 4)
        found = partition.state.runs.get(run)
        if found is not None and found.steps is not None and "ok?" in found.steps.open:
            resumed(partition, run, "ok?", b'"yes"')

    assert finished
    assert {"run", "step", "body"} & partition.kinds().keys() == set()
    assert partition.state.runs == {}
    assert 2 <= executed <= 4


def test_states_that_are_restored_go_on_alike() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.step_ends(run, "call")
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    partition.give(Evicted([run]))
    again = crashed(partition)

    assert canonical(again.state)["runs"] == canonical(partition.state)["runs"]
    assert run_id("charge", event(0)) == run
