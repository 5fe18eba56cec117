"""Providers of third parties as sources."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from connectors.base.contract import Closes, NotConnected, Received, Refused, Source
from connectors.base.kinds.provided import AnyOptions, maker
from headgate.providers import Disconnected, Emit, Failed, SourceEvent
from tests.unit.connectors.base.weather import Weather
from tests.unit.connectors.standing import Reading, StandIn, reading


def source(site: StandIn, **options: Any) -> Source:
    return maker(Weather)(AnyOptions.model_validate(options), site)


async def test_events_come_with_their_positions_and_emit_returns_after_the_broker_has_them() -> None:
    site = StandIn()
    async with reading(source(site, waits=True), site) as one:
        first = await one.next(settle=False)
        assert isinstance(first, Received)
        assert (first.id, first.position) == ("1", 1)
        await one.settle(first)
        second = await one.event()
        assert (second.id, site.position) == ("2", 2)


async def test_reading_goes_on_from_the_position() -> None:
    site = StandIn(position=2)
    async with reading(source(site, waits=True), site) as one:
        assert (await one.event()).id == "3"


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"breaks": True}, NotConnected, "silent"),
        ({"fails": True}, Refused, "over"),
        ({}, NotConnected, "returned"),
        ({"town": "nowhere"}, Refused, "no town"),
        ({"town": "far"}, NotConnected, "does not answer"),
        ({"numbers": True}, Refused, "whose id is no text: 1"),
    ],
)
async def test_ends_of_a_provider_are_those_of_a_source(options: dict[str, Any], kind: type, words: str) -> None:
    site = StandIn()
    end = await Reading(source(site, **options), site).to_its_end()

    assert type(end) is kind
    assert words in str(end)


async def test_how_long_to_wait_is_the_providers_word() -> None:
    site = StandIn()
    end = await Reading(source(site, breaks=True), site).to_its_end()

    assert isinstance(end, NotConnected)
    assert end.retry_after_seconds == 7


async def test_a_provider_is_shut_down_however_reading_ends() -> None:
    site, before = StandIn(), Weather.closed
    async with reading(source(site, waits=True), site) as one:
        await one.event()

    assert Weather.closed == before + 1


class Living(Weather):
    """Tells what is called."""

    calls: ClassVar[list[str]] = []

    async def init(self, config: Mapping[str, Any]) -> None:
        self.calls.append("init")
        if self.calls.count("init") < 2:
            raise Disconnected("not yet")

    async def run(self, emit: Emit, position: Any) -> None:
        self.calls.append(f"run from {position}")
        number = (position or 0) + 1
        if number == 4:
            raise Failed("over")
        await emit(SourceEvent(id=str(number), type="report", data=None), position=number)
        raise Disconnected("again")

    async def shutdown(self) -> None:
        self.calls.append("shutdown")


@pytest.mark.parametrize(("connections", "closed"), [(3, 1), (5, 1), (6, 2)])
async def test_one_provider_has_all_connections_that_end_by_themselves(connections: int, closed: int) -> None:
    """Its own failure ends it, and so does the end of the source."""
    Living.calls.clear()
    site = StandIn()
    living = maker(Living)(AnyOptions(), site)
    for _ in range(connections):
        await Reading(living, site).to_its_end()
    assert isinstance(living, Closes)
    await living.close()

    runs = [f"run from {position}" for position in (None, 1, 2)][: connections - 1]
    rest = ["run from 3", "shutdown"] if connections >= 5 else ["shutdown"]
    again = ["init", "run from 3", "shutdown"] if connections == 6 else []
    assert Living.calls == ["init", "init", *runs, *rest, *again]
    assert Living.calls.count("shutdown") == closed


class Counting(Weather):
    """Keeps its position in one object."""

    async def run(self, emit: Emit, position: Any) -> None:
        place = position or {"n": 0}
        while True:
            place["n"] += 1
            await emit(SourceEvent(id=str(place["n"]), type="count", data=None), position=place)


async def test_a_provider_that_goes_on_with_its_position_moves_no_stored_one() -> None:
    site = StandIn()
    async with reading(maker(Counting)(AnyOptions(), site), site) as one:
        await one.settle(await one.next(settle=False))
        second = await one.next(settle=False)
        assert isinstance(second, Received)

        assert ({"n": 1}, {"n": 2}) == (site.position, second.position)


class Leaving(Weather):
    """Ends the process, as it believes."""

    async def run(self, emit: Emit, position: Any) -> None:
        raise SystemExit(3)


async def test_a_provider_ends_no_process() -> None:
    site = StandIn()
    with pytest.raises(RuntimeError, match="not to end the process"):
        await Reading(maker(Leaving)(AnyOptions(), site), site).to_its_end()
