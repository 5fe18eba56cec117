"""Waits for one, any or all of several conditions: what is registered, received, judged, expired and withdrawn."""

from typing import Any

import orjson
import pytest

from app.engine.effects import Effects, Judge, Resolve, Rise
from app.engine.inputs import Evicted, Judged
from app.engine.steps import steps
from app.engine.tables.awaited import MOST_REFUSED
from app.engine.tables.state import RunStatus
from app.engine.values.asks import Await, EventCondition, Fault, Sleep
from app.engine.waits import waits
from tests.unit.app.engine.partition import NOW, Partition, canonical, event, facts, flow
from topics import commands, keys
from topics.envelope import Envelope

PAID = EventCondition(topic="orders/paid")
SENT = EventCondition(topic="orders/sent")


class Registered:
    """What the engine tells the partitions of waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waits: dict[tuple[str, int], tuple[int, int | None, list[str]]] = {}
        monkeypatch.setattr(waits, "register", self._register)
        monkeypatch.setattr(waits, "withdraw", self._withdraw)

    def _register(self, _state: Any, _run: Any, key: str, n: int, _one: Any, since: int, until: Any, seen: Any) -> None:
        self.waits[key, n] = (since, until, list(seen))

    def _withdraw(self, _state: Any, _run: Any, key: str, n: int, _topic: str) -> None:
        del self.waits[key, n]


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Registered:
    return Registered(monkeypatch)


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
    own = keys.digest_of(event(0)).hex()
    # The last moment that is in time is the one before the time is over: so it is over then, and not later.
    assert registered.waits == {("w", n): (NOW, NOW + 59_999, [own]) for n in (0, 1)}
    assert partition.run(run).status is RunStatus.WAITING

    one = event(7, "orders/sent", {"n": 1}, at=NOW + 5)
    meet(partition, run, 1, one)

    assert came(partition, run) == {"n": 1, "event": raw(one)}
    del registered.waits["w", 1]  # which its registry forgot when it was met
    assert registered.waits == {}
    meet(partition, run, 0, one)  # too late
    assert partition.told() == []


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


def test_a_later_wait_sees_nothing_from_before_what_was_received(registered: Registered) -> None:
    partition, run = waiting(PAID)
    one = event(7, "orders/paid", at=NOW + 5)
    meet(partition, run, 0, one)
    partition.commit()
    again = partition.takeover(flow())
    again.ask(run, "more", Await(conditions=(PAID, SENT), need=1, deadline_ms=None))

    assert registered.waits["more", 0] == (NOW + 5, None, [keys.digest_of(one).hex()])
    other_topic = sorted(keys.digest_of(each).hex() for each in (event(0), one))
    assert registered.waits["more", 1] == (NOW, None, other_topic), "a pattern may name what a topic was received by"


# --- filters --------------------------------------------------------------------------------------------------------


def judge(partition: Partition, run: str, *, passed: bool) -> None:
    partition.give(Judged(run, partition.run(run).attempt, "w", 0, passed))


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
