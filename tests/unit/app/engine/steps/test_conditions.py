"""Waits for one, any or all of several conditions: what is registered, received, judged, expired and withdrawn."""

from typing import Any

import orjson
import pytest

from app.engine.effects import Effects, Judge, Resolve, Rise
from app.engine.inputs import Evicted, Judged
from app.engine.steps import conditions, steps
from app.engine.tables.awaited import MOST_REFUSED
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Await, EventCondition, Fault, Sleep
from tests.unit.app.engine.partition import NOW, Partition, canonical, event, facts, flow
from tests.unit.app.engine.steps.conftest import Registered
from topics import commands, keys
from topics.envelope import Envelope

PAID = EventCondition(topic="orders/paid")
SENT = EventCondition(topic="orders/sent")


def waiting(*given: EventCondition | Sleep, need: int = 1, until: int | None = None) -> tuple[Partition, str]:
    partition = Partition(flow())
    (run,) = partition.read(event(0))
    partition.ask(run, "w", Await(conditions=given, need=need, deadline_ms=until))
    partition.commit()
    return partition, run


def meet(partition: Partition, run: str, n: int, envelope: Envelope) -> None:
    effects = Effects()
    steps.met(partition.state, run, "w", n, envelope, effects)
    partition.after += effects.after
    partition.give()


def expire(partition: Partition, run: str, n: int) -> None:
    effects = Effects()
    steps.expired(partition.state, run, "w", n, effects)
    partition.after += effects.after
    partition.give()


def raw(envelope: Envelope) -> Any:
    return orjson.loads(orjson.dumps(commands.raw_event(envelope)))


def came(partition: Partition, run: str) -> Any:
    (told,) = partition.told()
    assert isinstance(told, Resolve)
    assert (told.run, told.key, told.woken) == (partition.run(run), "w", True)
    return told.outcome.fault or orjson.loads(told.outcome.value or b"")


def test_the_first_event_ends_a_wait_for_any_and_the_others_are_withdrawn(registered: Registered) -> None:
    partition, run = waiting(PAID, SENT, until=NOW + 60_000)
    # The last moment that is in time is the one before the time is over: so it is over then, and not later.
    assert registered.waits == {("w", n): (NOW, NOW + 59_999, []) for n in (0, 1)}
    assert partition.run(run).status is RunStatus.WAITING

    one = event(7, "orders/sent", {"n": 1}, at=NOW + 5)
    meet(partition, run, 1, one)

    assert came(partition, run) == {"n": 1, "event": raw(one)}
    del registered.waits["w", 1]  # which its registry forgot when it was met
    assert registered.waits == {}
    meet(partition, run, 0, one)  # too late
    assert partition.told() == []


def test_a_run_goes_on_with_an_event_only_once_that_is_journaled(registered: Registered) -> None:
    partition, run = waiting(PAID)
    meet(partition, run, 0, event(7, "orders/paid", at=NOW + 5))
    (told,) = partition.told()
    assert isinstance(told, Resolve)
    assert not told.ahead


def test_all_of_several_end_with_the_last_of_them_also_over_takeovers(registered: Registered) -> None:
    partition, run = waiting(PAID, Sleep(until_ms=NOW + 1_000), SENT, need=3)
    paid, sent = event(7, "orders/paid", at=NOW + 5), event(8, "orders/sent", at=NOW + 6)
    meet(partition, run, 2, sent)
    partition.commit()
    again = partition.takeover(flow())
    assert (again.run(run).status, again.told()) == (RunStatus.COLD, [])
    again.wait(1_000)
    meet(again, run, 0, paid)
    (told,) = facts(again.committed())
    assert [(one["id"], one["topic"], one["offset"]) for one in told["events"]] == [
        ("0-7", "orders/paid", 7),
        ("0-8", "orders/sent", 8),
    ]
    again.give()

    (risen,) = again.told()
    assert isinstance(risen, Rise)
    (step,) = risen.recorded
    assert step.outcome is not None
    assert orjson.loads(step.outcome.value or b"") == [raw(paid), None, raw(sent)]
    assert registered.waits.keys() == {("w", 0), ("w", 2)}


def test_a_wait_fails_once_no_event_can_come_any_more(registered: Registered) -> None:
    partition, run = waiting(PAID, SENT, until=NOW + 60_000)
    expire(partition, run, 0)
    assert partition.told() == []
    expire(partition, run, 1)

    message = "step 'w' (Await w) was not met until 2026-01-31T12:01:00.000Z"
    assert came(partition, run) == Fault("EventTimeout", message)
    assert registered.waits.keys() == {("w", 0), ("w", 1)}  # their registries know


def test_one_that_expired_fails_a_wait_for_all_and_withdraws_the_rest(registered: Registered) -> None:
    partition, run = waiting(PAID, SENT, need=2, until=NOW + 60_000)
    expire(partition, run, 0)

    assert came(partition, run).type == "EventTimeout"
    assert registered.waits.keys() == {("w", 0)}


@pytest.mark.parametrize(("until", "ends"), [(None, {"n": 1, "event": None}), (NOW + 500, "EventTimeout")])
def test_a_sleep_beyond_the_end_of_the_whole_never_ends(registered: Registered, until: int | None, ends: Any) -> None:
    partition, run = waiting(PAID, Sleep(until_ms=NOW + 1_000), until=until)
    if until is not None:
        expire(partition, run, 0)
    else:
        partition.wait(1_000)

    found = came(partition, run)
    assert (found.type if isinstance(found, Fault) else found) == ends
    assert registered.waits.keys() <= {("w", 0)}


def test_a_wait_for_sleeps_alone_has_its_own_end() -> None:
    partition, run = waiting(Sleep(until_ms=NOW + 9_000), until=NOW + 1_000)
    partition.wait(1_000)

    assert came(partition, run).type == "EventTimeout"


def own_of(given: EventCondition, *events: Envelope) -> list[str]:
    """Which of the batch's events the wait of its run is told to pass by, by their ids."""
    partition = Partition(flow(trigger="orders/*", batch_size=len(events)))
    (run,) = partition.read(*events)
    partition.ask(run, "w", Await(conditions=(given,), need=1, deadline_ms=None))
    wait = partition.run(run).steps.open["w"].wait  # type: ignore[union-attr]
    assert wait is not None
    names = {keys.digest_of(one).hex(): one.id for one in events}
    return sorted(names[one] for one in wait.conditions[0].seen)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (PAID, ["e0", "e1"]),
        (EventCondition(topic="orders/*"), ["e0", "e1", "e2"]),
        (EventCondition(topic="orders/paid", event_key="a"), ["e0"]),
        (EventCondition(topic="orders/*", event_type="t"), ["e2"]),
        (EventCondition(topic="others"), []),
        (EventCondition(topic="orders/paid", since_ms=NOW + 1), ["e1"]),
    ],
)
def test_a_wait_names_those_events_of_its_run_that_would_meet_it(given: EventCondition, expected: list[str]) -> None:
    events = (
        event(0, "orders/paid", id="e0", key="a"),
        event(1, "orders/paid", id="e1", at=NOW + 1),
        event(2, "orders/sent", id="e2", event_type="t"),
    )
    assert own_of(given, *events) == expected


def test_a_step_whose_conditions_would_name_too_much_of_its_batch_fails_and_nothing_is_registered(
    registered: Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "_MOST_SEEN", 5)
    partition = Partition(flow(trigger="orders/paid", batch_size=3))
    (run,) = partition.read(*(event(n, "orders/paid") for n in range(3)))
    partition.ask(run, "w", Await(conditions=(PAID, SENT, PAID), need=1, deadline_ms=None))

    (told,) = partition.told()
    assert isinstance(told, Resolve)
    assert told.outcome.fault == Fault(
        "StepLimit",
        "the conditions of step 'w' match 6 times an event that the run has already, more than 5: wait on another "
        "topic than the batch's, name event_key or event_type, or give since='now'",
    )
    assert registered.waits == {}


# --- an event is received once ----------------------------------------------------------------------------------------


def seen(registered: Registered, n: int, key: str = "w") -> list[str]:
    return registered.waits[key, n][2]


def test_an_event_meets_one_of_two_conditions_for_it_and_the_other_waits_for_the_next(registered: Registered) -> None:
    partition, run = waiting(PAID, PAID, need=2)
    first, second = event(7, "orders/paid", at=NOW + 5), event(8, "orders/paid", at=NOW + 6)
    for n in (0, 1):
        registered.waits.pop(("w", n))  # their registry forgets them when they are met
        meet(partition, run, n, first)
    assert partition.told() == []
    assert registered.waits == {("w", 1): (NOW, None, [keys.digest_of(first).hex()])}
    partition.commit()
    again = partition.takeover(flow())
    registered.waits.pop(("w", 1))
    meet(again, run, 1, first)
    assert seen(registered, 1) == [keys.digest_of(first).hex()], "also one that another owner received"
    registered.waits.pop(("w", 1))
    meet(again, run, 1, second)
    again.commit()
    again.give()

    (risen,) = again.told()
    assert isinstance(risen, Rise)
    assert orjson.loads(risen.recorded[0].outcome.value or b"") == [raw(first), raw(second)]  # type: ignore[union-attr]


ANY = EventCondition(topic="orders/*")
LARGE = EventCondition(topic="orders/paid", stream=True)


@pytest.mark.parametrize("narrow", [PAID, LARGE], ids=["plain", "with a filter"])
def test_a_broader_condition_gives_an_event_up_to_a_narrower_one_of_its_wait(
    registered: Registered, narrow: EventCondition
) -> None:
    partition, run = waiting(ANY, narrow, need=2)
    first, second = event(7, "orders/paid", at=NOW + 5), event(8, "orders/sent", at=NOW + 6)
    registered.waits.pop(("w", 0))
    meet(partition, run, 0, first)
    partition.commit()
    meet(partition, run, 1, first)
    if narrow.stream:
        partition.told()
        judge(partition, run, passed=True, n=1)
    registered.waits.pop(("w", 1), None)
    own = keys.digest_of(event(0)).hex()
    assert registered.waits == {("w", 0): (NOW, None, sorted([own, keys.digest_of(first).hex()]))}
    assert partition.told() == []
    partition.commit()
    again = partition.takeover(flow())
    registered.waits.clear()
    meet(again, run, 0, first)
    assert registered.waits.keys() == {("w", 0)}, "it is the other's, for the next owner as well"
    meet(again, run, 0, second)
    again.commit()
    again.give()
    (risen,) = again.told()
    assert isinstance(risen, Rise)
    assert orjson.loads(risen.recorded[0].outcome.value or b"") == [raw(second), raw(first)]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("broad", "narrow", "expected"),
    [
        (ANY, PAID, True),
        (ANY, LARGE, True),
        (EventCondition(topic="orders/**"), ANY, True),
        (EventCondition(topic="orders/**"), EventCondition(topic="orders/*/*"), True),
        (EventCondition(topic="orders/**"), EventCondition(topic="orders.x/*"), False),
        (ANY, EventCondition(topic="orders/**"), False),
        (LARGE, PAID, False),
        (PAID, SENT, False),
        (PAID, EventCondition(topic="orders/paid", event_key="k", event_type="t"), True),
        (EventCondition(topic="orders/paid", event_key="k"), PAID, False),
        (EventCondition(topic="orders/paid", event_type="t"), PAID, False),
    ],
)
def test_one_condition_covers_another_where_it_takes_all_that_that_one_does(
    broad: EventCondition, narrow: EventCondition, expected: bool
) -> None:
    assert conditions.covers(broad, narrow) is expected


def test_of_two_waits_at_once_each_receives_an_event_of_its_own(registered: Registered) -> None:
    partition, run = waiting(PAID)
    partition.ask(run, "other", Await(conditions=(PAID,), need=1, deadline_ms=None))
    first, second = event(7, "orders/paid", at=NOW + 5), event(8, "orders/paid", at=NOW + 6)
    registered.waits.clear()
    meet(partition, run, 0, first)
    effects = Effects()
    steps.met(partition.state, run, "other", 0, first, effects)
    assert registered.waits == {("other", 0): (NOW, None, [keys.digest_of(first).hex()])}
    steps.met(partition.state, run, "other", 0, second, effects)

    (told,) = effects.after
    assert isinstance(told, Resolve)
    assert orjson.loads(told.outcome.value or b"") == {"n": 0, "event": raw(second)}


def test_a_filter_is_not_believed_of_an_event_that_another_wait_received_meanwhile(registered: Registered) -> None:
    partition, run = waiting(EventCondition(topic="orders/*", stream=True))
    first, second = event(7, "orders/paid", at=NOW + 5), event(8, "orders/paid", at=NOW + 6)
    meet(partition, run, 0, first)
    meet(partition, run, 0, second)
    partition.ask(run, "other", Await(conditions=(PAID,), need=1, deadline_ms=None))
    steps.met(partition.state, run, "other", 0, first, Effects())
    partition.told()
    judge(partition, run, passed=True)
    assert partition.told() == [Judge(partition.run(run), "w", 0, second)]


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_events_that_are_too_many_bytes_together_end_the_step_before_all_are_there(registered: Registered) -> None:
    partition = Partition(flow(), result_bytes=10_000)
    (run,) = partition.read(event(0))
    partition.ask(run, "w", Await(conditions=(PAID, PAID, PAID, PAID), need=4, deadline_ms=None))
    registered.waits.clear()
    for n in (0, 1):
        meet(partition, run, n, event(n + 1, "orders/paid", "x" * 4_900, at=NOW + n))
    assert partition.told() == []
    registered.waits["w", 3] = (0, None, [])
    meet(partition, run, 2, event(3, "orders/paid", "x" * 4_900, at=NOW + 2))

    (told,) = partition.told()
    assert isinstance(told, Resolve)
    fault = told.outcome.fault
    assert fault is not None
    assert (fault.type, fault.message.split(",")[0][-24:]) == ("ResultTooLarge", "have 14799 bytes already")
    assert registered.waits == {}


def test_an_event_that_was_accepted_is_received_whatever_json_makes_of_it(registered: Registered) -> None:
    partition = Partition(flow(), result_bytes=10_000)
    (run,) = partition.read(event(0))
    partition.ask(run, "w", Await(conditions=(PAID,), need=1, deadline_ms=None))
    one = event(1, "orders/paid", ['"'] * 1_900)
    assert len(one.raw_value or b"") < 10_000 < len(orjson.dumps(commands.raw_event(one)))
    meet(partition, run, 0, one)

    (told,) = partition.told()
    assert isinstance(told, Resolve)
    assert orjson.loads(told.outcome.value or b"") == {"n": 0, "event": raw(one)}


# --- filters --------------------------------------------------------------------------------------------------------


def judge(partition: Partition, run: str, *, passed: bool, n: int = 0) -> None:
    partition.give(Judged(run, partition.run(run).attempt, "w", n, passed))


def test_a_filter_judges_one_event_after_the_other() -> None:
    partition, run = waiting(EventCondition(topic="orders/*", stream=True))
    first, second = event(7, "orders/paid"), event(8, "orders/paid")
    meet(partition, run, 0, first)
    meet(partition, run, 0, second)
    assert partition.told() == [Judge(partition.run(run), "w", 0, first)]

    judge(partition, run, passed=False)
    assert partition.told() == [Judge(partition.run(run), "w", 0, second)]
    judge(partition, run, passed=True)
    assert came(partition, run) == {"n": 0, "event": raw(second)}


def test_the_first_events_that_a_filter_refused_are_told(registered: Registered) -> None:
    partition, run = waiting(EventCondition(topic="orders/*", stream=True))
    told = []
    for n in range(MOST_REFUSED + 2):
        meet(partition, run, 0, event(10 + n, "orders/paid"))
        partition.ask(run, "w", Await(conditions=(), need=1, deadline_ms=None))  # called anew, after the takeover
        judge(partition, run, passed=False)
        told += [(one["step"], one["events"][0]["offset"]) for one in facts(partition.committed())]
        if n == 4:
            partition = partition.takeover(flow())
    assert told == [("w", 10 + n) for n in range(MOST_REFUSED)]


def test_what_is_to_be_judged_is_judged_before_the_end_and_after_a_takeover() -> None:
    partition, run = waiting(EventCondition(topic="orders/*", stream=True), until=NOW + 9)
    one = event(7, "orders/paid")
    meet(partition, run, 0, one)
    expire(partition, run, 0)
    partition.told()
    partition.commit()
    again = partition.takeover(flow())
    (risen,) = again.told()  # its function is needed to judge
    assert isinstance(risen, Rise)
    again.ask(run, "w", Await(conditions=(), need=1, deadline_ms=None))
    assert again.told() == [Judge(again.run(run), "w", 0, one)]
    judge(again, run, passed=False)

    (told,) = again.told()
    assert isinstance(told, Resolve)
    assert told.outcome.fault is not None
    assert told.outcome.fault.type == "EventTimeout"


def test_a_cold_run_is_woken_to_judge() -> None:
    partition, run = waiting(EventCondition(topic="orders/*", stream=True))
    partition.give(Evicted([run]))
    assert partition.run(run).status is RunStatus.COLD
    meet(partition, run, 0, event(7, "orders/paid"))

    (risen,) = partition.told()
    assert isinstance(risen, Rise)
    partition.commit()
    assert canonical(partition.takeover(flow()).state)["runs"][run]["steps"]["resting"] is False


def test_the_end_of_a_run_withdraws_its_waits(registered: Registered) -> None:
    partition, run = waiting(PAID, SENT)
    partition.complete(run)

    assert registered.waits == {}
