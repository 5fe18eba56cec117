"""The verdict on a fleet: what it says of times, with blows and times that a test writes."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from tests.e2e.fleet.account import TAKEOVER_SECONDS, longest_takeover, right
from tests.e2e.fleet.blows import KILLED, Blow
from tests.e2e.fleet.told import Told
from tests.e2e.fleet.worlds.clouds import Queue
from tests.e2e.fleet.worlds.web import Stream

NOTHING_WRONG = {
    "lost": 0,
    "doubled": 0,
    "ended_wrongly": 0,
    "dead_letters": {},
    "exits_of_processes_not_killed": {},
}


class Times(Told):
    """By source: when events happened, each of which had its result at once."""

    def __init__(self, times: Mapping[str, list[float]]) -> None:
        self.times = {name: dict(enumerate(several)) for name, several in times.items()}
        self._worlds: Any = {name: SimpleNamespace(happened_at=several.__getitem__) for name, several in times.items()}


def fleet(blows: list[Blow], kinds: Mapping[str, type] | None = None, **times: list[float]) -> Any:
    kinds = kinds or {}
    worlds = {name: kinds.get(name, Stream) for name in times}
    return SimpleNamespace(worlds=worlds, blows=blows, told=Times(times))


def killed(at: float, *sources: str) -> Blow:
    return Blow(what=KILLED, at=at, sources=sources)


def longest(one: Any, load: float = 1.0) -> Any:
    found = longest_takeover(one, load=load)
    return found and (found["seconds"], found["source"])


def test_a_takeover_that_takes_longer_than_was_promised_is_not_right() -> None:
    slow = longest_takeover(fleet([killed(100, "a")], a=[99.0, 127.0]), load=1.0)

    assert slow == {"seconds": 27.0, "source": "a", "times": 1}
    assert not right({**NOTHING_WRONG, "longest_takeover": slow})
    assert right({**NOTHING_WRONG, "longest_takeover": {**slow, "seconds": TAKEOVER_SECONDS}})
    assert right({**NOTHING_WRONG, "longest_takeover": None})


def test_what_is_promised_leaves_no_room_for_a_session_of_half_a_minute() -> None:
    assert 10.0 < TAKEOVER_SECONDS < 15.0


def test_the_longest_of_all_kills_and_sources_counts() -> None:
    one = fleet([killed(100, "a", "b"), killed(200, "b")], a=[103.0, 290.0], b=[99.0, 104.0, 209.0])

    assert longest(one) == (9.0, "b")


@pytest.mark.parametrize(
    ("what", "sources"),
    [
        (KILLED, ("b",)),
        ("owner frozen past its session", ("b",)),
        ("broker away", ("a",)),
        ("credentials given back", ("a",)),
        ("sources edited", ("a", "b")),
    ],
)
def test_a_kill_that_another_blow_came_upon_is_not_timed(what: str, sources: tuple[str, ...]) -> None:
    one = fleet([killed(100, "a"), Blow(what=what, at=110, sources=sources)], a=[120.0])

    assert longest(one) is None


def test_blows_that_do_not_come_upon_the_source_or_come_later_leave_it_timed() -> None:
    others = [Blow(what="sources edited", at=104, sources=("b",)), Blow(what="broker away", at=130, sources=("a",))]

    assert longest(fleet([killed(100, "a"), *others], a=[120.0])) == (20.0, "a")


def test_sources_that_tell_late_or_seldom_are_not_timed() -> None:
    blows = [killed(100, "a")]

    assert longest(fleet(blows, {"a": Queue}, a=[150.0])) is None
    assert longest(fleet(blows, a=[150.0]), load=0.01) is None
    assert longest(fleet(blows, a=[])) is None
