"""The owner of a partition: what it makes of records, of fences, of sources that end by themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from app.wiring.virtual import VirtualLoop
from connectors.base.closing import end
from connectors.base.contract import Item, Received, Site
from connectors.base.instance.runner import Runner
from tests.unit.connectors.base.framed import Reads, spec
from tests.unit.connectors.base.owned import Owned, Record, said, settle
from topics.sources import Cursor, Spec, State


async def idle(site: Site, _: int) -> AsyncIterator[Item]:
    site.connected()
    yield Received(id="1", event_type="t", data=None, position=1)
    await asyncio.get_running_loop().create_future()


@pytest.fixture
async def owned(scripted: Callable[[Reads], None]) -> AsyncIterator[Callable[..., Owned]]:
    """Makes owners that run; they are ended with the test."""
    scripted(idle)
    tasks: list[asyncio.Task[None]] = []

    def make(**options: Any) -> Owned:
        made = Owned(**options)
        tasks.append(asyncio.create_task(made.owner.run()))
        return made

    yield make
    await end(tasks)


def runs(made: Owned) -> dict[str, Runner]:
    return dict(made.owner.runners)


def cursor(position: Any) -> Cursor:
    return Cursor(position=position, epoch="before", kind="scripted")


async def test_what_is_said_under_the_key_of_another_runs_nowhere(owned: Callable[..., Owned]) -> None:
    made = owned(stored={"src": cursor(7)})
    made.owner.read([said(0, spec()), said(1, spec(topic="another"), key="foreign")])
    made.owner.caught_up()
    await settle()

    assert list(runs(made)) == ["src"]
    assert runs(made)["src"].spec.topic is None
    assert made.removed == []
    assert made.stored["src"] is not None


async def test_a_position_is_kept_for_a_source_that_a_newer_release_has_set_up(owned: Callable[..., Owned]) -> None:
    made = owned(stored={"src": cursor(7), "gone": cursor(1)})
    newer = orjson.dumps(spec().to_record() | {"format": 2})
    made.owner.read([Record(offset=0, key=b"src", value=newer)])
    made.owner.caught_up()
    await settle()

    assert runs(made) == {}
    assert made.stored["src"] == cursor(7)
    assert made.stored["gone"] is None
    assert made.removed == ["gone"]


async def test_what_is_not_there_any_more_when_everything_comes_again_ends(owned: Callable[..., Owned]) -> None:
    made = owned()
    other = Spec(id="other", kind="scripted")
    made.owner.read([said(0, spec()), said(1, other)])
    made.owner.caught_up()
    await settle()
    before = runs(made)

    made.owner.again()  # the tombstone of `other` has been compacted away meanwhile
    made.owner.read([said(0, spec())])
    await settle()
    assert runs(made) == before
    made.owner.caught_up()
    await settle()

    assert list(runs(made)) == ["src"]
    assert runs(made)["src"] is before["src"]
    assert made.removed == ["other"]


async def test_an_older_record_that_comes_again_changes_nothing(owned: Callable[..., Owned]) -> None:
    made = owned()
    records = [said(0, spec(topic="old")), said(5, spec(topic="new"))]
    made.owner.read(records)
    made.owner.caught_up()
    await settle()
    before = runs(made)

    made.owner.again()
    for record in records:
        made.owner.read([record])
        await settle()
    made.owner.caught_up()
    await settle()

    assert runs(made) == before
    assert runs(made)["src"].spec.topic == "new"


async def test_who_asks_for_a_source_that_runs_already_is_told_anew(owned: Callable[..., Owned]) -> None:
    made = owned()
    made.owner.read([said(0, spec(origin="run one"))])
    made.owner.caught_up()
    await settle()
    runner = runs(made)["src"]
    runner.watched.changed = False

    made.owner.read([said(8, spec(origin="run two"))])
    await settle()

    assert runs(made)["src"] is runner
    assert (runner.spec.origin, runner.asked_at, runner.watched.changed) == ("run two", 8, True)


async def test_a_change_that_comes_while_another_source_is_ended_is_not_passed_over(
    owned: Callable[..., Owned], scripted: Callable[[Reads], None]
) -> None:
    """As when a file with several changes is taken over: each is a record."""

    async def telling(site: Site, _: int) -> AsyncIterator[Item]:
        site.connected()
        try:
            yield Received(id="1", event_type="t", data=None, position=1)
            await asyncio.get_running_loop().create_future()
        finally:
            if site.instance_id == "src" and runs(made)["src"].spec.topic is None:
                made.owner.read([said(3, replace(other, topic="changed/too"))])

    scripted(telling)
    other = replace(spec(), id="other")
    made = owned()
    made.owner.read([said(0, spec()), said(1, other)])
    made.owner.caught_up()
    await settle()
    first = runs(made)
    made.owner.read([said(2, spec(topic="changed"))])
    await settle()
    await settle()

    now = runs(made)
    assert {"src": "changed", "other": "changed/too"} == {name: one.spec.topic for name, one in now.items()}
    assert [now[name] is not first[name] for name in ("src", "other")] == [True, True]


async def test_an_edit_that_cannot_be_followed_costs_no_position_and_the_next_one_goes_on_from_it(
    owned: Callable[..., Owned],
) -> None:
    made = owned()
    made.owner.read([said(0, spec())])
    made.owner.caught_up()
    await settle()
    made.owner.read([said(1, spec(options={"no_such": 1}))])
    await settle()
    wrong = runs(made)["src"].watched.status
    made.owner.read([said(2, spec(options={"count": 2}))])
    await settle()

    right = runs(made)["src"].watched
    assert (State.FAILED, "options") == (wrong.state, wrong.error and wrong.error.reason)
    assert (State.CONNECTED, 1) == (right.state, runs(made)["src"].position)


def test_an_edit_waits_five_seconds_for_kafka_and_no_longer(scripted: Callable[[Reads], None]) -> None:
    """What the source has read by then, it reads again."""
    scripted(idle)
    made, loop = Owned(), VirtualLoop()
    made.framed.broker.back.clear()
    running = loop.create_task(made.owner.run())
    made.owner.read([said(0, spec())])
    made.owner.caught_up()
    loop.settle()
    made.owner.read([said(1, spec(topic="changed"))])
    topics = []
    for moment in (4.9, 5.0):
        loop.run_to(moment)
        topics.append(runs(made)["src"].spec.topic)
    made.framed.broker.back.set()
    loop.finish(end([running]))
    loop.close()

    assert topics == [None, "changed"]


async def test_a_source_that_something_in_it_has_cancelled_is_not_dead_in_silence(owned: Callable[..., Owned]) -> None:
    made = Owned()
    running = asyncio.create_task(made.owner.run())
    made.owner.read([said(0, spec())])
    made.owner.caught_up()
    await settle()
    made.owner._running["src"][1].cancel()

    with pytest.raises(AssertionError, match="source src"):
        await asyncio.wait_for(running, 5)


async def test_who_is_fenced_again_and_again_takes_over_less_and_less_often(
    owned: Callable[..., Owned], monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds:
            pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr("connectors.base.fleet.owner.asyncio.sleep", noted)
    made = owned(rival=True)
    made.owner.read([said(0, spec())])
    made.owner.caught_up()
    while len(pauses) < 9:
        await sleep(0)

    assert pauses[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert made.confirmations >= 9
