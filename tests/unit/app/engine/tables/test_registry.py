"""Which events a wait takes, which registries an event is told to, and how waits are looked up."""

from typing import Any

import pytest

from app.engine.tables.registry import Head, Interest, InterestLook, Interests, WaitsLook
from app.engine.tables.wait import Wait, at_places
from tests.unit.app.engine.partition import NOW, event
from tests.unit.app.engine.world import registry_of, topic_at
from tests.unit.app.engine.world import wait_for as wait
from topics import keys

SEEN = event(5, "approvals/42", id="seen")


@pytest.mark.parametrize(
    ("given", "one", "taken"),
    [
        (wait(), event(1, "approvals/42"), True),
        (wait(), event(1, "approvals/43"), False),
        (wait(), event(1, "approvals/42", at=NOW - 1), False),
        (wait(deadline_ms=NOW + 5), event(1, "approvals/42", at=NOW + 5), True),
        (wait(deadline_ms=NOW + 5), event(1, "approvals/42", at=NOW + 6), False),
        (wait(event_key="k"), event(1, "approvals/42", key="k"), True),
        (wait(event_key="k"), event(1, "approvals/42", key="other"), False),
        (wait(event_key="k"), event(1, "approvals/42"), False),
        (wait(event_type="t"), event(1, "approvals/42", event_type="t"), True),
        (wait(event_type="t"), event(1, "approvals/42"), False),
        (wait("approvals/*"), event(1, "approvals/42"), True),
        (wait("approvals/*"), event(1, "approvals/42/more"), False),
        (wait("approvals/**"), event(1, "approvals"), True),
        (wait("**"), event(1, "other"), True),
        (wait(seen=(keys.digest_of(SEEN),)), SEEN, False),
        (wait(seen=(keys.digest_of(SEEN),)), event(6, "approvals/42", id="new"), True),
    ],
)
def test_a_wait_takes_what_it_asked_for(given: Wait, one: Any, taken: bool) -> None:
    assert given.takes(one) is taken
    if taken:
        assert at_places({given.place: {given.id: given}}, one) == [given]


@pytest.mark.parametrize(
    ("topic", "head"),
    [
        ("approvals/42", ("approvals", False)),
        ("approvals.42", ("approvals", False)),
        ("approvals", ("approvals", False)),
        ("a.b/c", ("a.b", False)),
        ("approvals/*", ("approvals", True)),
        ("*/42", ("", True)),
        ("/x", ("", False)),
    ],
)
def test_the_head_is_the_first_segment(topic: str, head: tuple[str, bool]) -> None:
    assert wait(topic).head == head


def test_an_event_finds_each_wait_once() -> None:
    given = [wait("/x"), wait("/**", n=1), wait("**", n=2)]
    places: Any = {}
    for one in given:
        places.setdefault(one.place, {})[one.id] = one
    assert at_places(places, event(1, "/x")) == given


def test_a_head_is_confirmed_by_all_and_as_far_back_as_the_least_of_them() -> None:
    head = Head(("approvals", False), 5)
    head.confirmed = {0: 5, 1: 7}
    assert head.confirmed_ms(3) is None
    head.confirmed[2] = 6
    assert head.confirmed_ms(3) == 7


def test_an_event_is_told_once_to_each_registry_that_wants_it() -> None:
    interests = Interests(3)
    interests.add(Interest(0, ("approvals", False), 0, 0, 0))
    interests.add(Interest(0, ("approvals", True), 0, 0, 0))
    interests.add(Interest(1, ("approvals", True), 0, 0, 0))
    interests.add(Interest(2, ("", False), 0, 0, 0))
    assert interests.of(topic_at(0)) == (0, 1)
    assert interests.of(topic_at(2)) == (0, 1, 2)
    assert interests.of("orders/1") == ((2,) if registry_of("orders/1") == 2 else ())
    interests.add(Interest(0, ("orders", True), 0, 0, 0))
    assert 0 in interests.of("orders/1")


def test_a_topic_is_compared_with_the_interests_of_its_head_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    interests = Interests(3)
    for number in range(50):
        interests.add(Interest(0, (f"head{number}", True), 0, 0, 0))
    interests.add(Interest(1, ("", True), 0, 0, 0))
    compared: list[str] = []
    wants = Interest.wants

    def noted(one: Interest, topic: str, partitions: int) -> bool:
        compared.append(one.key[0])
        return wants(one, topic, partitions)

    monkeypatch.setattr(Interest, "wants", noted)
    assert interests.of("head7/x") == (0, 1)
    assert compared == ["head7", ""]


def test_a_look_back_wants_what_was_not_told_before() -> None:
    interest = Interest(0, ("approvals", True), 10, 3, 4)
    look = InterestLook(
        number=1, since_ms=10, events_end=3, commands_end=4, interest=interest, before_ms=20, partitions=3
    )
    wanted = [at for at in (9, 10, 19, 20) if look.wants(event(1, "approvals/1", at=at))]
    assert wanted == [10, 19]
    assert not look.wants(event(1, "orders/1", at=10))
    assert not look.notices


def test_one_look_back_serves_many_waits_from_the_earliest_on() -> None:
    look = WaitsLook(number=1, since_ms=NOW, events_end=3, commands_end=4)
    look.join(wait(since_ms=NOW - 5))
    look.join(wait("approvals/*", n=1))
    assert look.since_ms == NOW - 5
    assert look.notices
    assert look.wants(event(1, "approvals/42", at=NOW - 5))
    assert not look.wants(event(1, "approvals/43", at=NOW - 5))
    assert look.wants(event(1, "approvals/43"))
