"""The kind `gcs`: events by listing and by notifications, and what is in objects."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp import web
from pydantic import ValidationError

from connectors.base.contract import Moved, NotConnected, Received, Refused, Unreadable
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from connectors.gcs import EXAMPLE, Config, Source
from connectors.gcs.source import _moment, _said
from tests.unit.connectors.gcs.test_notifications import ATTRIBUTES
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import Reading, StandIn, reading, until
from tests.unit.connectors.subscriptions import NAME, PubSub
from tests.unit.connectors.timing import Clock

UPDATED = "2026-06-01T12:00:00.123Z"


class Storage:
    """A bucket: names with generation, metageneration and content."""

    def __init__(self) -> None:
        self.at = ""
        self.objects: dict[str, tuple[int, int, bytes]] = {}
        self.asked: list[dict[str, str]] = []
        self.fetched: list[tuple[str, str]] = []
        self.page = 1000
        self.instead: tuple[int, Any] | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.instead is not None:
            status, body = self.instead
            return web.json_response(body, status=status)
        if request.path == "/storage/v1/b/uploads/o":
            self.asked.append(dict(request.query))
            return web.json_response(self._listed(request.query))
        name = unquote(request.raw_path.partition("?")[0].removeprefix("/storage/v1/b/uploads/o/"))
        generation, _, content = self.objects.get(name, (0, 0, b""))
        self.fetched.append((name, request.query["generation"]))
        if str(generation) != request.query["generation"]:
            return web.json_response({"error": {"code": 404}}, status=404)
        return web.Response(body=content)

    def _listed(self, query: Any) -> dict[str, Any]:
        begin = query.get("pageToken") or query.get("startOffset") or ""
        names = sorted(name for name in self.objects if name.startswith(query["prefix"]) and name >= begin)
        items = [
            {
                "name": name,
                "generation": str(self.objects[name][0]),
                "metageneration": str(self.objects[name][1]),
                "size": str(len(self.objects[name][2])),
                "contentType": "text/plain",
                "updated": UPDATED,
            }
            for name in names[: self.page]
        ]
        more = {"nextPageToken": names[self.page]} if len(names) > self.page else {}
        return {"items": items, **more} if items else {}


@pytest.fixture
async def storage() -> AsyncIterator[Storage]:
    one = Storage()
    async with serving(one.answer) as at:
        one.at = at
        yield one


@pytest.fixture
async def site() -> AsyncIterator[StandIn]:
    async with ClientHttp(Policy(allowed=("127.0.0.0/8",))) as http:
        yield StandIn(http=http)


def source(storage: Storage, site: StandIn, **options: Any) -> Source:
    given = {"mode": "list", "bucket": "uploads", "endpoint_url": f"http://{storage.at}", "anonymous": True}
    given["emit_existing"] = True
    return Source(Config.model_validate({**given, **options}), site)


async def events(one: Reading, count: int) -> list[Received]:
    return [await one.event() for _ in range(count)]


@pytest.mark.parametrize("given", [EXAMPLE, {"mode": "queue", "subscription": NAME}])
def test_the_example_is_valid(given: dict[str, Any]) -> None:
    assert Config.model_validate(given).mode == given["mode"]


@pytest.mark.parametrize(
    ("given", "words"), [({"mode": "queue"}, "needs subscription"), ({"mode": "list"}, "needs bucket"), ({}, "mode")]
)
def test_a_mode_needs_its_options(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config.model_validate(given)


# ---- by listing ------------------------------------------------------------------------------------------------------


async def test_a_bucket_is_listed_page_by_page(storage: Storage, site: StandIn) -> None:
    storage.page = 2
    storage.objects = {f"in/{name}": (7, 1, b"abc") for name in "a+%é"} | {"out/a": (1, 1, b""), "in/": (1, 1, b"")}
    async with reading(source(storage, site, prefix="in/"), site) as one:
        found = await events(one, 4)
        assert isinstance(await one.next(), Moved)

    assert [event.key for event in found] == ["in/%", "in/+", "in/a", "in/é"]
    assert found[2].id == "uploads/in/a#7.1"
    assert found[2].data == {
        "bucket": "uploads",
        "key": "in/a",
        "generation": "7",
        "metageneration": "1",
        "size_bytes": 3,
        "content_type": "text/plain",
        "modified": UPDATED,
    }
    assert found[2].created_at == datetime(2026, 6, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    assert site.connections == 1
    assert [asked.get("pageToken") for asked in storage.asked] == [None, "in/+", "in/é"]


async def test_changes_between_two_looks_are_events(storage: Storage, site: StandIn) -> None:
    storage.objects = {"a": (1, 1, b""), "b": (1, 1, b""), "c": (1, 1, b"")}
    kind = source(storage, site)
    async with reading(kind, site) as one:
        await events(one, 3)
        assert isinstance(await one.next(), Moved)
    storage.objects.update(a=(2, 1, b""), b=(1, 2, b""), d=(1, 1, b""))
    del storage.objects["c"]
    async with reading(kind, site) as one:
        found = await events(one, 4)

    assert [(event.event_type, event.key) for event in found] == [
        ("update", "a"),
        ("update", "b"),
        ("create", "d"),
        ("delete", "c"),
    ]
    assert [event.id for event in found[:3]] == ["uploads/a#2.1", "uploads/b#1.2", "uploads/d#1.1"]


async def test_a_growing_bucket_is_listed_after_the_last_name(storage: Storage, site: StandIn) -> None:
    storage.objects = {"a": (1, 1, b""), "b": (1, 1, b"")}
    kind = source(storage, site, order="growing")
    async with reading(kind, site) as one:
        await events(one, 2)
    storage.objects["c"] = (1, 1, b"")
    async with reading(kind, site) as one:
        assert (await one.event()).key == "c"

    assert storage.asked[-1]["startOffset"] == "b"


async def test_what_is_in_an_object_is_read_by_its_generation(storage: Storage, site: StandIn) -> None:
    storage.objects = {"in/a b%2F+é": (7, 1, b'{"total": 3}'), "large": (1, 1, b"0" * 100)}
    async with reading(source(storage, site, content="auto", max_content_bytes=50), site) as one:
        found = await events(one, 2)

    assert found[0].data["content"] == {"total": 3}
    assert found[1].data["content_omitted"] == "too_large"
    assert storage.fetched == [("in/a b%2F+é", "7")]


@pytest.mark.parametrize(
    ("instead", "kind", "words"),
    [
        ((403, {"error": {"errors": [{"reason": "forbidden"}]}}), Refused, "give the account the role"),
        ((404, {"error": {"errors": [{"reason": "notFound"}]}}), Refused, "check the name"),
        ((429, {}), NotConnected, "answered 429"),
        ((200, {"items": [{"name": 7, "generation": "1"}]}), NotConnected, "none of Cloud Storage"),
        ((200, {"items": [{}]}), NotConnected, "none of Cloud Storage"),
        ((200, {"items": [{"name": "a", "generation": [[]]}]}), NotConnected, "none of Cloud Storage"),
        ((200, {"items": [{"name": "a", "generation": 1, "metageneration": {}}]}), NotConnected, "none of Cloud"),
        ((200, {"nextPageToken": ["t"]}), NotConnected, "none of Cloud Storage"),
    ],
)
async def test_an_error_ends_the_look_and_the_next_one_goes_on(
    storage: Storage, site: StandIn, instead: tuple[int, Any], kind: type[Exception], words: str
) -> None:
    storage.objects = {"a": (1, 1, b"")}
    made = source(storage, site)
    storage.instead = instead
    async with reading(made, site) as one:
        with pytest.raises(kind, match=f"listing bucket 'uploads': .*{words}"):
            await one.next()

    storage.instead = None
    async with reading(made, site) as one:
        assert (await one.event()).key == "a"


def test_sizes_and_times_beyond_all_bounds_are_left_out() -> None:
    assert _said({"size": "9" * 5_000, "contentType": "text/csv"}) == {"content_type": "text/csv"}
    assert _moment("0001-01-01T00:00:00+14:00") is None


# ---- by notifications ------------------------------------------------------------------------------------------------


def notified(storage: Storage, pubsub: PubSub, clock: Clock, **options: Any) -> Source:
    queue = {"mode": "queue", "subscription": NAME, "pubsub_endpoint_url": f"http://{pubsub.at}", "bucket": None}
    return source(storage, clock, **{**queue, **options})


def payload(**about: Any) -> bytes:
    return json.dumps({"size": "3", "contentType": "text/plain", "metageneration": "1", **about}).encode()


async def test_a_notification_is_an_event_and_acknowledged(storage: Storage, pubsub: PubSub, clock: Clock) -> None:
    storage.objects = {"in/a b.txt": (17, 1, b"abc")}
    await pubsub.publish(payload(), **ATTRIBUTES)
    async with reading(notified(storage, pubsub, clock, content="text"), clock) as one:
        event = await one.event()
        await until(lambda: not pubsub.messages)

    assert (event.id, event.event_type, event.key) == ("uploads/in/a b.txt#17", "create", "in/a b.txt")
    assert event.data == {
        "bucket": "uploads",
        "key": "in/a b.txt",
        "generation": "17",
        "metageneration": "1",
        "size_bytes": 3,
        "content_type": "text/plain",
        "event": "OBJECT_FINALIZE",
        "content": "abc",
        "content_omitted": None,
    }


async def test_a_deletion_is_not_read_and_what_has_changed_since_is_told(
    storage: Storage, pubsub: PubSub, clock: Clock
) -> None:
    await pubsub.publish(b"", **{**ATTRIBUTES, "eventType": "OBJECT_DELETE"})
    await pubsub.publish(b"", **ATTRIBUTES)
    async with reading(notified(storage, pubsub, clock, content="text"), clock) as one:
        found = await events(one, 2)

    assert found[0].data == {
        "bucket": "uploads",
        "key": "in/a b.txt",
        "generation": "17",
        "event": "OBJECT_DELETE",
    }
    assert found[1].data["content_omitted"] == "changed"


@pytest.mark.parametrize(
    "skipped", [{"bucketId": "other"}, {"objectId": "out/a"}, {"objectId": "in/folder/"}, {"eventType": "OBJECT_X"}]
)
async def test_what_is_not_wanted_is_skipped_and_acknowledged(
    storage: Storage, pubsub: PubSub, clock: Clock, skipped: dict[str, str]
) -> None:
    await pubsub.publish(b"", **{**ATTRIBUTES, **skipped})
    await pubsub.publish(b"", **ATTRIBUTES)
    async with reading(notified(storage, pubsub, clock, prefix="in/", bucket="uploads"), clock) as one:
        assert (await one.event()).key == "in/a b.txt"
        await until(lambda: not pubsub.messages)

    assert clock.notes["skipped"] == 1


async def test_what_cloud_storage_did_not_write_is_a_dead_letter(
    storage: Storage, pubsub: PubSub, clock: Clock
) -> None:
    await pubsub.publish(b"hello")
    async with reading(notified(storage, pubsub, clock), clock) as one:
        letter = await one.next()
        await until(lambda: not pubsub.messages)

    assert isinstance(letter, Unreadable)
    assert letter.raw == b"hello"
