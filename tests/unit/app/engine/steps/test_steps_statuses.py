"""What each status of a run makes of what happens to it, also with the next owner."""

from collections.abc import Callable
from typing import Any

import pytest

from app.engine.effects import Resolve, Rise
from app.engine.inputs import Ended, Evicted, StepAsked, StepEnded
from app.engine.runs import runs
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Sleep
from tests.unit.app.engine.onerun import HOUR, asleep, begun, crashed
from tests.unit.app.engine.partition import NOW, Partition, event, facts, failure, flow, summary


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
