"""Buckets that are looked at: each change once, however often the reader dies; a position that names every object."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.contract import UNMOVED, Item, Moved, NotConnected, Received, Refused
from connectors.base.services import listing
from connectors.base.services.listing import DIGEST_BYTES, Change, Entry, Looking, decode, digest, encode
from tests.unit.connectors.standing import StandIn

Step = Callable[[dict[str, str]], Any]


class Shelf:
    """A bucket: names and versions, two to a page."""

    def __init__(self, **objects: str) -> None:
        self.of = "shelf/"
        self.objects = dict(objects)
        self.asked: list[str | None] = []
        self.breaks = False

    async def pages(self, after: str | None) -> AsyncIterator[Sequence[Entry]]:
        self.asked.append(after)
        names = sorted(name for name in self.objects if after is None or name > after)
        for at in range(0, max(1, len(names)), 2):
            yield [
                Entry(key=name, version=self.objects[name], size_bytes=1, changed_at=None, about={})
                for name in names[at : at + 2]
            ]
            if self.breaks:
                raise NotConnected("away")

    async def event(self, change: Change, entry: Entry) -> Received:
        return Received(id=f"{entry.key}@{entry.version}", event_type=change, data=None)

    def gone(self, key: str, version: str) -> Received:
        return Received(id=f"{key}@{version}", event_type=Change.DELETE, data=None)


class Site(StandIn):
    """Between two looks happens what the test says; then the bucket is away."""

    def __init__(self, shelf: Shelf, steps: Sequence[Step], position: Any) -> None:
        super().__init__(position=position)
        self._shelf, self._steps = shelf, list(steps)

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if not self._steps:
            raise NotConnected("the test is over")
        self._steps.pop(0)(self._shelf.objects)


class Seen:
    """What a reader saw, and the position in the end."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.items: list[Item] = []
        self.position: Any = None
        self.site: StandIn


async def look(
    shelf: Shelf,
    *steps: Step,
    position: Any = None,
    existing: bool = True,
    order: str = "changes",
    dies_after: int | None = None,
) -> Seen:
    """Read until the test is over, or until the reader dies after so many items."""
    seen = Seen()
    seen.site = site = Site(shelf, steps, position)
    looking = Looking(bucket=shelf, site=site, interval_seconds=60, existing=existing)
    items: AsyncIterator[Item] = looking.changes() if order == "changes" else looking.later()
    try:
        while len(seen.items) != dies_after:
            item = await anext(items)
            seen.items.append(item)
            if isinstance(item, Received):
                seen.events.append(f"{item.event_type} {item.id}")
            if item.position is not UNMOVED:
                site.position = item.position
    except NotConnected:
        pass
    seen.position = site.position
    return seen


def at(version: str) -> str:
    return digest(version).hex()


# ---- looks -----------------------------------------------------------------------------------------------------------


async def test_new_changed_and_missing_objects_are_events() -> None:
    shelf = Shelf(a="1", b="1", c="1")

    seen = await look(
        shelf,
        lambda objects: objects.update(b="2", d="1"),
        lambda objects: objects.pop("a"),
        lambda objects: None,
        lambda objects: objects.update(a="9"),
    )

    assert seen.events == [
        "create a@1",
        "create b@1",
        "create c@1",
        "update b@2",
        "create d@1",
        f"delete a@{at('1')}",
        "create a@9",
    ]
    assert seen.site.slept == [60.0] * 5
    assert seen.site.connections == 1


async def test_a_look_that_finds_nothing_new_stores_nothing() -> None:
    seen = await look(Shelf(a="1"), lambda objects: None, lambda objects: None)

    assert [type(item) for item in seen.items] == [Received, Moved]


async def test_after_a_restart_only_what_changed_meanwhile_is_an_event() -> None:
    shelf = Shelf(a="1", b="1", c="1")
    first = await look(shelf)
    shelf.objects.update(c="2", d="1")
    del shelf.objects["a"]
    second = await look(shelf, position=first.position)

    assert second.events == ["update c@2", "create d@1", f"delete a@{at('1')}"]


@pytest.mark.parametrize("dies_after", range(6))
async def test_a_reader_that_dies_repeats_events_under_their_ids_and_loses_none(dies_after: int) -> None:
    shelf = Shelf(a="1", b="1", c="1")
    first = await look(shelf)
    shelf.objects.update(a="2", d="1", e="1")
    del shelf.objects["b"]
    died = await look(shelf, position=first.position, dies_after=dies_after)
    second = await look(shelf, position=died.position)

    expected = ["update a@2", "create d@1", "create e@1", f"delete b@{at('1')}"]
    assert died.events == expected[:dies_after]
    assert second.events == (expected if dies_after < 5 else [])


async def test_a_look_of_many_changes_stores_where_it_is_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "STORE_EVERY", 2)
    shelf = Shelf(a="1", b="1", c="1", d="1", e="1")
    died = await look(shelf, dies_after=6)
    assert died.events == ["create a@1", "create b@1", "create c@1", "create d@1"]
    second = await look(shelf, position=died.position)

    assert second.events == ["create e@1"]


async def test_a_listing_that_breaks_off_deletes_nothing() -> None:
    shelf = Shelf(a="1", b="1", c="1")
    first = await look(shelf)
    shelf.breaks = True
    assert (await look(shelf, position=first.position)).events == []


async def test_what_is_there_at_the_first_look_can_be_left_out() -> None:
    shelf = Shelf(a="1")
    seen = await look(shelf, lambda objects: objects.update(b="1"), existing=False)
    assert seen.events == ["create b@1"]

    empty = await look(Shelf(), lambda objects: objects.update(b="1"), existing=False)
    assert empty.events == ["create b@1"]


async def test_a_position_of_another_bucket_means_nothing() -> None:
    first = await look(Shelf(a="1", b="1"))
    shelf = Shelf(c="1")
    shelf.of = "shelf/other/"
    assert (await look(shelf, position=first.position)).events == ["create c@1"]


async def test_a_bucket_with_too_many_objects_is_refused_before_any_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST_BYTES", 150)
    looking = Looking(bucket=(shelf := Shelf(a="1")), site=StandIn(), interval_seconds=60, existing=True)
    shelf.objects = {f"{number:09}": "1" for number in range(50)}
    with pytest.raises(Refused, match=r"shelf/ has 50 objects or more.*mode: queue.*prefix.*order: growing"):
        await anext(looking.changes())

    monkeypatch.setattr(listing, "MOST_OBJECTS", 10)
    shelf.asked.clear()
    with pytest.raises(Refused, match="12 objects or more"):
        await anext(looking.changes())


# ---- names that grow -------------------------------------------------------------------------------------------------


async def test_names_that_grow_are_listed_from_the_last_one_on() -> None:
    shelf = Shelf(a="1", b="1", c="1")
    first = await look(shelf, lambda objects: objects.update(d="1"), order="later")
    shelf.objects.update(e="1", aa="1")
    second = await look(shelf, position=first.position, order="later")

    assert first.events == ["create a@1", "create b@1", "create c@1", "create d@1"]
    assert second.events == ["create e@1"]
    assert shelf.asked == [None, "c", "d"]
    assert second.position == {"of": "shelf/", "after": "e"}


async def test_each_event_of_a_growing_bucket_moves_the_position() -> None:
    shelf = Shelf(a="1", b="1", c="1")
    died = await look(shelf, dies_after=2, order="later")
    assert (await look(shelf, position=died.position, order="later")).events == ["create c@1"]


async def test_a_growing_bucket_can_begin_at_its_end() -> None:
    shelf = Shelf(a="1", b="1", c="1")
    seen = await look(shelf, lambda objects: objects.update(d="1"), order="later", existing=False)
    assert seen.events == ["create d@1"]

    empty = await look(Shelf(), lambda objects: objects.update(a="1"), order="later", existing=False)
    assert empty.events == ["create a@1"]


# ---- the position ----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(objects=st.dictionaries(st.text(max_size=20), st.text(max_size=5)))
def test_a_position_is_json_and_knows_every_object(objects: dict[str, str]) -> None:
    known = {key: digest(version) for key, version in objects.items()}
    position = orjson.loads(orjson.dumps(encode(known, "b/")))

    assert decode(position, "b/") == known


@pytest.mark.parametrize(
    "position", [None, 7, {}, {"format": 2, "of": "b/"}, {"of": "b/", "after": "x"}, encode({}, "other/")]
)
def test_a_position_that_is_none_of_ours_is_a_first_look(position: Any) -> None:
    assert decode(position, "b/") is None


def test_a_hundred_thousand_ordinary_names_fit() -> None:
    known = {f"uploads/2026/{n // 1000:03}/{n:06}-invoice.pdf": digest(str(n)) for n in range(100_000)}
    position = encode(known, "b/")

    assert len(orjson.dumps(position)) < 1_000_000 < listing.MOST_BYTES
    assert decode(position, "b/") == known


def test_no_position_could_name_more_than_are_counted() -> None:
    assert len(encode({}, "b/")["versions"]) == 0
    assert listing.MOST_OBJECTS * DIGEST_BYTES * 4 // 3 <= listing.MOST_BYTES
