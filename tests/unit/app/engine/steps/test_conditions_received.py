"""What the waits of a run have received, as far as the next one hears of it, also over takeovers."""

import pytest

from app.engine.effects import Effects
from app.engine.inputs import Judged
from app.engine.steps import steps
from app.engine.tables import receipts
from app.engine.values.asks import Await, EventCondition
from tests.unit.app.engine.onerun import begun
from tests.unit.app.engine.partition import NOW, Partition, event, flow
from tests.unit.app.engine.steps.conftest import Registered
from topics import keys
from topics.envelope import Envelope

PAID = EventCondition(topic="orders/paid")
SENT = EventCondition(topic="orders/sent")


def received(partition: Partition, run: str, given: EventCondition, envelope: Envelope, *, key: str = "first") -> None:
    """Let a step of the run wait for the event, and receive it."""
    partition.ask(run, key, Await(conditions=(given,), need=1, deadline_ms=None))
    effects = Effects()
    steps.met(partition.state, run, key, 0, envelope, effects)
    if given.stream:
        partition.give(Judged(run, 1, key, 0, True))
    partition.commit()


def digest(envelope: Envelope) -> str:
    return keys.digest_of(envelope).hex()


def test_a_later_wait_goes_on_from_shortly_before_what_was_received(registered: Registered) -> None:
    partition, run = begun(committed=False)
    one = event(7, "orders/paid", at=NOW + 60_000)
    received(partition, run, PAID, one)
    again = partition.takeover(flow())
    keyed = EventCondition(topic="orders/paid", event_key="a")
    again.ask(run, "more", Await(conditions=(PAID, SENT, keyed), need=1, deadline_ms=None))

    # What a partition tells of late, because nobody owned it for a while, came before what was received.
    since, had = NOW + 60_000 - receipts.LATE_MS, [digest(one)]
    assert registered.waits["more", 0] == (since, None, had)
    assert registered.waits["more", 1] == (NOW, None, had), "a pattern may name what a topic was received by"
    assert registered.waits["more", 2] == (since, None, had), "the first one would have received it"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (EventCondition(topic="orders/paid", event_key="a"), EventCondition(topic="orders/paid", event_key="b")),
        (EventCondition(topic="orders/paid", event_key="a"), PAID),
        (EventCondition(topic="orders/paid", event_type="a"), EventCondition(topic="orders/paid", event_type="b")),
        (EventCondition(topic="orders/paid", stream=True), EventCondition(topic="orders/paid", stream=True)),
        (EventCondition(topic="orders/paid", stream=True), PAID),
        (EventCondition(topic="orders/pa"), PAID),
        (PAID, EventCondition(topic="orders/pa")),
        (PAID, EventCondition(topic="orders/paid", since_ms=NOW)),
    ],
)
def test_a_wait_sees_all_that_the_one_before_may_have_passed_by(
    registered: Registered, first: EventCondition, then: EventCondition
) -> None:
    partition, run = begun(committed=False)
    one = event(7, "orders/paid", key="a", event_type="a", at=NOW + 60_000)
    received(partition, run, first, one)
    again = partition.takeover(flow())
    again.ask(run, "more", Await(conditions=(then,), need=1, deadline_ms=None))

    assert registered.waits["more", 0] == (NOW, None, [digest(one)])


@pytest.mark.parametrize(
    "given", [EventCondition(topic="orders/paid", stream=True), EventCondition(topic="orders/paid", since_ms=NOW)]
)
def test_no_wait_goes_so_far_back_that_an_event_comes_again(registered: Registered, given: EventCondition) -> None:
    partition, run = begun(committed=False)
    came = [event(n, "orders/paid", at=NOW + n * 1_000) for n in range(1, 41)]
    for number, one in enumerate(came):
        received(partition, run, given, one, key=f"s{number}")
    again = partition.takeover(flow())
    again.ask(run, "more", Await(conditions=(given,), need=1, deadline_ms=None))

    since, _, seen = registered.waits["more", 0]
    assert seen == sorted(map(digest, came[8:]))
    assert came[7].timestamp_ms < since <= came[8].timestamp_ms


def test_events_that_are_received_against_their_order_are_each_received_once(registered: Registered) -> None:
    partition, run = begun(committed=False)
    for number in range(100):
        one = event(number + 1, "orders/paid", key=f"k{number}", at=NOW + 200_000 - number * 1_000)
        mine = EventCondition(topic="orders/paid", event_key=f"k{number}")
        partition.ask(run, f"s{number}", Await(conditions=(mine,), need=1, deadline_ms=None))
        since, _, _ = registered.waits[f"s{number}", 0]
        assert since == NOW
        steps.met(partition.state, run, f"s{number}", 0, one, Effects())
        partition.commit()
    again = partition.takeover(flow())
    twice = EventCondition(topic="orders/paid", event_key="k0")
    again.ask(run, "more", Await(conditions=(twice,), need=1, deadline_ms=None))
    assert registered.waits["more", 0][0] == NOW + 200_000, "what is not among the last ones is passed by its time"
