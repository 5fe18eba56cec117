"""Runs and waits at rest are packed after their round, and whatever happens to one finds it as if it were not."""

import gc
from typing import Any

import pytest

from app.engine.effects import Rise
from app.engine.inputs import Evicted
from app.engine.runs import atrest, renewal
from app.engine.tables import receipts, timers
from app.engine.tables.recorded import Step
from app.engine.tables.run import RunStatus
from app.engine.tables.state import Timer
from app.engine.tables.texts import key_of
from app.engine.values.asks import Ask, Await, Child, EventCondition, Execute, Invoke, Outcome, Sleep, Suspend
from app.engine.values.known import Definition
from tests.unit.app.engine.partition import NOW, Partition, event, failure, flow, run_id, summary
from topics import asked

HOUR = 3_600_000
PAID = EventCondition(topic="orders/paid", event_key="k-1")
ASKS: dict[str, Ask] = {
    "event": Await(conditions=(PAID,), need=1, deadline_ms=None),
    "event in time": Await(conditions=(PAID,), need=1, deadline_ms=NOW + HOUR),
    "event of a type": Await(
        conditions=(EventCondition(topic="orders/*", event_type="paid", since_ms=NOW - 5, stream=True),),
        need=1,
        deadline_ms=None,
    ),
    "any": Await(conditions=(PAID, Sleep(until_ms=NOW + 2 * HOUR)), need=1, deadline_ms=None),
    "topic of its own": Await(
        conditions=(
            EventCondition(topic="orders/o-1/paid"),
            EventCondition(topic="orders/o-1/refused", event_key="k-1"),
        ),
        need=1,
        deadline_ms=NOW + HOUR,
    ),
    "all": Await(conditions=(PAID, EventCondition(topic="a/b")), need=2, deadline_ms=NOW + HOUR),
    "sleep": Sleep(until_ms=NOW + HOUR),
    "suspend": Suspend(data=b'{"who":"me"}', deadline_ms=NOW + HOUR, topic="headgate/resume/x/ok"),
    "suspend without a topic": Suspend(data=b"null", deadline_ms=NOW + HOUR),
    "children": Invoke(children=(Child(workflow_id="charge", payload=b"{}"),), wait=True),
}


def parked(ask: Ask, *, about: str = "", **options: Any) -> tuple[Partition, str]:
    """A partition with one run that waits for this, has done something before, and is not in memory."""
    partition = Partition(flow(**options), flow("other", "a/b"))
    (run,) = partition.read(event(0, key="k-1"))
    partition.ask(run, "first", Execute(max_retries=1, base_delay_ms=1, max_delay_ms=1))
    partition.commit()
    partition.step_ends(run, "first", b'{"n":1}')
    partition.commit()
    partition.ask(run, "then", ask, about=about)
    partition.commit()
    partition.told()
    evict(partition, run)
    return partition, run


def evict(partition: Partition, *runs: str) -> None:
    partition.give(Evicted(list(runs)))
    for run in runs:
        partition.in_hand.pop(run, None)
    partition.commit()
    partition.recalls = True


def seen(partition: Partition, run: str) -> Any:
    """All that there is to know of a run."""
    found = next(one for one in partition.state.runs.values() if one.id == run)
    steps = found.steps
    assert steps is not None
    return (
        {name: getattr(found, name) for name in found.__slots__ if name not in ("steps", "workflow")},
        found.workflow,
        {name: getattr(steps, name) for name in steps.__slots__ if name != "open"},
        [{name: getattr(one, name) for name in one.__slots__ if name != "steps"} for one in steps.open.values()],
    )


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("about", ["", "wait_for_event topic='orders/paid' event_key='k-1'", "k-1", "k-1k-1"])
def test_a_run_at_rest_is_packed_and_nothing_of_it_is_lost(
    ask: Ask, about: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(atrest, "_rests", lambda _state, _run: False)
        partition, run = parked(ask, about=about, timeout=7 * 86_400)
    before = seen(partition, run)
    assert list(partition.state.runs.awake) == [run]

    partition.state.runs.idle.append(partition.state.runs.awake[run])
    atrest.pack(partition.state)

    assert (partition.state.runs.awake, partition.state.runs.resting) == ({}, 1)
    assert seen(partition, run) == before
    assert partition.state.runs.bodies == {}
    assert run in partition.state.runs
    found = partition.run(run)
    assert partition.state.runs.awake == {run: found}
    assert seen(partition, run) == before
    assert partition.state.runs.bodies == {0: 1}
    atrest.pack(partition.state)
    assert (partition.state.runs.awake, partition.state.runs.bodies) == ({}, {})


def test_what_a_run_has_received_already_is_packed_with_it() -> None:
    partition, run = parked(ASKS["event"])
    found = partition.run(run)
    assert found.steps is not None
    for number in range(receipts.MOST_HAD + 3):
        condition = EventCondition(topic="orders/*" if number % 2 else "orders/paid", event_key=f"k{number % 3}")
        receipts.remember(found.steps, condition, f"{number:024x}", NOW + number)
    receipts.remember(found.steps, EventCondition(topic="orders/paid"), run[-24:], NOW)
    before = seen(partition, run)

    atrest.pack(partition.state)

    assert partition.state.runs.resting == 1
    assert seen(partition, run) == before


@pytest.mark.parametrize("name", ["sleep", "any", "suspend without a topic"])
def test_a_look_through_the_timers_drops_none_of_a_run_at_rest_that_holds(name: str) -> None:
    partition, run = parked(ASKS[name])
    state = partition.state
    assert state.runs.resting == len(state.later) == 1
    timers.arm(state, NOW + 3 * HOUR, Timer.STEP, run, "then")

    timers._sweep(state)

    assert (state.runs.resting, [due_ms for due_ms, *_ in state.later]) == (
        1,
        [NOW + (2 if name == "any" else 1) * HOUR],
    )


def test_the_key_that_cancels_a_run_is_packed_with_it() -> None:
    partition, run = parked(ASKS["sleep"], cancel_on="orders/gone")
    keyed = partition.state.keyed

    assert (keyed._awake, keyed.as_dict()) == ({}, {run: ("charge", "k-1")})
    partition.read(event(7, "orders/gone", key="k-2"))
    partition.commit()
    assert partition.state.runs.resting == 1
    partition.read(event(8, "orders/gone", key="k-1"))
    partition.commit()
    partition.give()
    partition.commit()
    assert (len(partition.state.runs), len(keyed)) == (0, 0)


@pytest.mark.parametrize("how", ["packed", "unpacked", "over"])
def test_what_leaves_memory_leaves_nothing_behind_for_the_cyclic_collector(how: str) -> None:
    gc.collect()
    gc.disable()
    try:
        partition, run = parked(ASKS["event"], timeout=3_600)
        if how == "unpacked":
            partition.state.runs.get(run)
            atrest.pack(partition.state)
        elif how == "over":
            partition.wait(HOUR)
            partition.commit()
            partition.give()
            partition.commit()
            partition.after.clear()
        assert len(partition.state.runs.awake) == 0
        assert [one.key for one in gc.get_objects() if isinstance(one, Step) and one.steps.run_id == run] == []
    finally:
        gc.enable()


def test_what_is_met_while_it_rests_goes_on_with_the_event_and_its_own() -> None:
    partition, run = parked(ASKS["event"])
    assert partition.state.runs.resting == 1

    partition.state.mail.append((0, asked.Met(run, "then", 0, event(5, "orders/paid", key="k-1"))))
    partition.give()
    assert partition.run(run).status is RunStatus.WAKING
    partition.commit()
    partition.give()

    (risen,) = partition.told()
    assert isinstance(risen, Rise)
    assert [one.key for one in risen.recorded] == ["first", "then"]
    assert risen.recorded[0].outcome == Outcome(b'{"n":1}')
    partition.complete(run)
    assert [one[1] for one in summary(partition.committed())] == ["completed"]
    assert not {"run", "step", "body"} & partition.kinds().keys()


@pytest.mark.parametrize("name", ["sleep", "suspend", "any"])
def test_a_time_that_is_over_wakes_it(name: str) -> None:
    partition, run = parked(ASKS[name])
    assert partition.state.runs.resting == 1

    partition.wait(2 * HOUR)
    partition.give()
    partition.commit()
    partition.give()

    assert [type(one) for one in partition.told()] == ([Rise] if name != "suspend" else [])
    assert (run in partition.state.runs.awake) is (name != "suspend")


def test_the_time_for_a_run_ends_it_while_it_rests() -> None:
    partition, _ = parked(ASKS["event"], timeout=3_600)

    partition.wait(HOUR)
    partition.give()
    partition.commit()
    partition.give()
    partition.commit()

    assert [one[1] for made in partition.commits for one in summary(made.outgoing)] == ["failed"]
    assert (len(partition.state.runs), partition.state.runs.bodies, partition.state.waiting) == (0, {}, 0)


def test_a_workflow_that_gets_a_time_limit_gives_it_to_runs_at_rest() -> None:
    partition, _ = parked(ASKS["event"])

    partition.load(flow(timeout=1_800), flow("other", "a/b"))
    assert partition.state.runs.resting == 1
    partition.wait(HOUR // 2)
    partition.give()
    partition.commit()
    partition.give()
    partition.commit()

    assert [one[1] for made in partition.commits for one in summary(made.outgoing)] == ["failed"]


def test_runs_at_rest_get_the_workflow_that_is_loaded_anew() -> None:
    partition, run = parked(ASKS["event"])
    newer = flow(version="2")

    partition.load(newer, flow("other", "a/b"))

    assert (partition.state.runs.resting, partition.run(run).workflow) == (1, newer)


def test_runs_at_rest_of_a_retired_workflow_are_given_up_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "MOST_RETIRED", 2)
    partition = Partition(flow())
    runs = partition.read(*(event(n) for n in range(5)))
    for run in runs:
        partition.ask(run, "then", ASKS["sleep"])
    partition.commit()
    evict(partition, *runs)
    assert partition.state.runs.resting == 5
    partition.recalls = False

    partition.load(retired={"charge": NOW + 5})
    most = 0
    for _ in range(10):
        most = max(most, len(partition.state.runs.awake))
        partition.commit()
        if (read := partition.recalled(3)) is None:
            break
        partition.give(read)
    outgoing = [one for made in partition.commits for one in summary(made.outgoing)]

    assert [(one[1]) for one in outgoing] == ["cancelled"] * 5
    assert most <= 2
    assert (len(partition.state.runs), partition.kinds().get("run")) == (0, None)


def test_an_event_that_others_need_stays_until_the_last_of_them_has_ended() -> None:
    partition = Partition(flow("a"), flow("b"), flow("c"))
    runs = partition.read(event(0))
    for run in runs:
        partition.ask(run, "then", ASKS["sleep"])
    partition.commit()
    evict(partition, *runs[:2])
    assert (partition.state.runs.resting, partition.state.runs.bodies) == (2, {0: 2})

    partition.complete(runs[2])
    partition.commit()
    assert partition.kinds()["body"] == 1
    partition.wait(HOUR)
    partition.commit()
    partition.give()
    for run in runs[:2]:
        assert partition.kinds()["body"] == 1
        partition.complete(run)
        partition.commit()
    assert not {"run", "body"} & partition.kinds().keys()


def test_two_whose_ids_have_one_key_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engine.tables.runs.key_of_run", lambda _text: b"the same")
    partition = Partition(flow())
    runs = partition.read(*(event(n) for n in range(4)))
    for run in runs:
        partition.ask(run, "then", ASKS["sleep"])
    partition.commit()
    evict(partition, *runs)
    assert partition.state.runs.resting == 4

    assert [partition.run(run).id for run in reversed(runs)] == runs[::-1]
    assert run_id("charge", event(9)) not in partition.state.runs
    assert partition.state.runs.get("charge:x") is None


@pytest.mark.parametrize("why", ["strict", "aside"])
def test_what_more_hangs_on_stays_in_memory(why: str) -> None:
    partition = Partition(flow(order="strict" if why == "strict" else "key"))
    (run,) = partition.read(event(0, key="k"))
    partition.ask(run, "then", ASKS["sleep"], aside=why == "aside")
    partition.commit()
    evict(partition, run)

    assert (list(partition.state.runs.awake), partition.state.runs.resting) == ([run], 0)


def test_the_next_owner_has_those_at_rest_packed_without_their_code() -> None:
    partition, run = parked(ASKS["event in time"], timeout=7 * 86_400)

    other = partition.takeover(load=False)

    assert (list(other.state.runs.awake), other.state.runs.resting) == ([], 1)
    assert next(other.state.runs.values()).workflow.version == partition.run(run).workflow.version
    other.load(*partition.state.loaded.values())
    before, after = seen(partition, run), seen(other, run)
    for one in (before, after):  # the journals of the two are not in the same order
        del one[0]["places"], one[2]["places"], one[2]["size"]
    assert after == before


def test_a_definition_alone_does_not_wake_it() -> None:
    partition, _ = parked(ASKS["sleep"])

    other = partition.takeover(load=False)
    other.load(announced=[Definition.of(flow(version="9"))])

    assert (other.state.runs.resting, other.state.rising) == (1, {})


def test_one_that_fails_after_it_woke_is_tried_again() -> None:
    partition, run = parked(ASKS["sleep"], max_retries=2)
    partition.wait(HOUR)
    partition.commit()
    partition.give()
    partition.fail(run, failure(retry_after_ms=HOUR))
    partition.commit()

    assert partition.run(run).status is RunStatus.RETRYING
    assert partition.state.runs.resting == 0
    assert len(key_of(run)) == 8
