"""The kind `s3`: events by notifications and by listing, and what is in objects."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import pytest
from aiohttp import web
from pydantic import ValidationError

from connectors.base.contract import Moved, NotConnected, Received, Refused, Unreadable
from connectors.s3 import EXAMPLE, Config, Source
from connectors.s3.source import _Bucket
from tests.unit.connectors.queues import KEYS, Sqs
from tests.unit.connectors.s3.test_notifications import TEST, body, record
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import Reading, StandIn, reading, until
from tests.unit.connectors.timing import Clock

AT = "2026-06-01T12:00:00.000Z"


class Aws:
    """A queue and a bucket under one address."""

    def __init__(self) -> None:
        self.sqs = Sqs()
        self.objects: dict[str, tuple[str, bytes]] = {}
        self.asked: list[tuple[str, dict[str, str], str | None]] = []
        self.page = 1000
        self.error: tuple[int, str] | None = None
        self.at = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "X-Amz-Target" in request.headers:
            return await self.sqs.answer(request)
        bucket, _, key = request.path.lstrip("/").partition("/")
        self.asked.append((request.path, dict(request.query), request.headers.get("If-Match")))
        if self.error is not None:
            status, code = self.error
            return xml(f"<Error><Code>{code}</Code><Message>canary-secret</Message></Error>", status=status)
        if not key:
            return xml(self._listed(bucket, request.query))
        etag, content = self.objects.get(key, ("", None))
        if content is None:
            return xml("<Error><Code>NoSuchKey</Code></Error>", status=404)
        if request.headers.get("If-Match") not in (None, etag):
            return xml("<Error><Code>PreconditionFailed</Code></Error>", status=412)
        return web.Response(body=content, headers={"ETag": f'"{etag}"'})

    def _listed(self, bucket: str, query: Any) -> str:
        assert query["encoding-type"] == "url"
        after = unquote(query.get("continuation-token") or query.get("start-after") or "")
        names = sorted(name for name in self.objects if name.startswith(query["prefix"]) and name > after)
        page = names[: self.page]
        found = "".join(
            f"<Contents><Key>{quote(name)}</Key><LastModified>{AT}</LastModified>"
            f"<ETag>&quot;{self.objects[name][0]}&quot;</ETag><Size>{len(self.objects[name][1])}</Size></Contents>"
            for name in page
        )
        cut = len(names) > len(page)
        more = f"<NextContinuationToken>{quote(page[-1])}</NextContinuationToken>" if cut else ""
        about = f"<EncodingType>url</EncodingType><IsTruncated>{str(cut).lower()}</IsTruncated>{more}"
        return f"<ListBucketResult>{about}{found}</ListBucketResult>"

    @property
    def listing(self) -> dict[str, Any]:
        given = {"mode": "list", "bucket": "uploads", "emit_existing": True, "region": "eu-west-1"}
        return {**given, "endpoint_url": f"http://{self.at}", **KEYS}

    @property
    def queue(self) -> dict[str, Any]:
        return {"mode": "queue", "endpoint_url": f"http://{self.at}", **self.sqs.config}


def xml(text: str, *, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/xml")


@pytest.fixture
async def aws() -> AsyncIterator[Aws]:
    one = Aws()
    async with serving(one.answer) as at:
        one.at, one.sqs.url = at, f"http://{at}/1/notifications"
        yield one


def source(site: Any, config: dict[str, Any], **options: Any) -> Source:
    return Source(Config.model_validate({**config, **options}), site)


async def events(one: Reading, count: int) -> list[Received]:
    return [await one.event() for _ in range(count)]


@pytest.mark.parametrize("given", [EXAMPLE, {"mode": "list", "bucket": "uploads"}])
def test_the_example_is_valid(given: dict[str, Any]) -> None:
    assert Config.model_validate(given).mode == given["mode"]


@pytest.mark.parametrize(
    ("given", "words"), [({"mode": "queue"}, "needs queue_url"), ({"mode": "list"}, "needs bucket"), ({}, "mode")]
)
def test_a_mode_needs_its_options(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config.model_validate(given)


# ---- by notifications ------------------------------------------------------------------------------------------------


async def test_a_notification_is_an_event_and_its_message_deleted(aws: Aws) -> None:
    await aws.sqs.send(body(record(key="in/a+b.txt", versionId="v1")))
    async with reading(source(site := Clock(), aws.queue), site) as one:
        event = await one.event()
        await until(lambda: not aws.sqs.messages)

    assert (event.id, event.event_type, event.key) == ("uploads/in/a b.txt@v1", "create", "in/a b.txt")
    assert event.data == {
        "bucket": "uploads",
        "key": "in/a b.txt",
        "size_bytes": 3,
        "etag": "e1",
        "version_id": "v1",
        "sequencer": "0A1",
        "event": "ObjectCreated:Put",
        "event_time": "2026-06-01T12:00:00.123Z",
        "received_count": 1,
    }
    assert event.created_at == datetime(2026, 6, 1, 12, 0, 0, 123_000, tzinfo=UTC)


async def test_a_message_is_deleted_after_the_last_of_its_events(aws: Aws) -> None:
    await aws.sqs.send(body(record(key="a"), record("ObjectRemoved:Delete", key="b")))
    async with reading(source(site := Clock(), aws.queue), site) as one:
        first, second = await one.next(settle=False), await one.next(settle=False)
        await one.settle(second)
        assert [item.event_type for item in (first, second) if isinstance(item, Received)] == ["create", "delete"]
        assert not aws.sqs.asked("DeleteMessageBatch")
        await one.settle(first)
        await until(lambda: not aws.sqs.messages)


@pytest.mark.parametrize(
    "skipped",
    [
        json.dumps(TEST),
        body(record("Replication:X")),
        body(record(key="out/a")),
        body(record(key="in/folder/", size=0)),
        body({**record(key="in/a"), "s3": {"bucket": {"name": "other"}, "object": {"key": "in/a"}}}),
    ],
)
async def test_what_is_not_wanted_is_skipped_and_deleted(aws: Aws, skipped: str) -> None:
    await aws.sqs.send(skipped)
    await aws.sqs.send(body(record(key="in/b")))
    config = {**aws.queue, "prefix": "in/", "bucket": "uploads"}
    async with reading(source(site := Clock(), config), site) as one:
        event = await one.event()
        await until(lambda: not aws.sqs.messages)

    assert event.key == "in/b"
    assert site.notes["skipped"] == 1


async def test_a_notification_through_sns_is_one(aws: Aws) -> None:
    envelope = {"Type": "Notification", "MessageId": "n", "TopicArn": "arn", "Message": body(record(key="a"))}
    await aws.sqs.send(json.dumps(envelope))
    async with reading(source(site := Clock(), aws.queue), site) as one:
        assert (await one.event()).id == "uploads/a@0A1"


async def test_what_s3_did_not_write_is_a_dead_letter(aws: Aws) -> None:
    await aws.sqs.send("hello")
    async with reading(source(site := Clock(), aws.queue), site) as one:
        letter = await one.next()
        await until(lambda: not aws.sqs.messages)

    assert isinstance(letter, Unreadable)
    assert letter.raw == b"hello"


async def test_what_is_in_an_object_is_in_its_event_unless_it_has_changed(aws: Aws) -> None:
    aws.objects = {"a": ("e1", b'{"total": 3}'), "b": ("e2", b"new")}
    for key in ("a", "b", "c"):
        await aws.sqs.send(body(record(key=key, eTag="e1")))
    await aws.sqs.send(body(record("ObjectRemoved:Delete", key="a")))
    async with reading(source(site := Clock(), aws.queue, content="auto"), site) as one:
        found = await events(one, 4)

    assert found[0].data["content"] == {"total": 3}
    assert [event.data.get("content_omitted") for event in found[1:3]] == ["changed"] * 2
    assert not {"content", "content_omitted"} & set(found[3].data)
    assert [(path, match) for path, _, match in aws.asked] == [(f"/uploads/{key}", "e1") for key in "abc"]


# ---- by listing ------------------------------------------------------------------------------------------------------


async def test_a_bucket_is_listed_page_by_page(aws: Aws) -> None:
    aws.page = 2
    aws.objects = {f"in/{name}": (f"e{at}", b"abc") for at, name in enumerate("a+&é")} | {
        "out/a": ("e", b""),
        "in/": ("e", b""),
    }
    async with reading(source(site := StandIn(), aws.listing, prefix="in/"), site) as one:
        found = await events(one, 4)
        assert isinstance(await one.next(), Moved)

    assert [event.key for event in found] == ["in/&", "in/+", "in/a", "in/é"]
    assert found[2].id == "uploads/in/a@e0@2026-06-01T12:00:00Z"
    assert found[2].data == {
        "bucket": "uploads",
        "key": "in/a",
        "size_bytes": 3,
        "etag": "e0",
        "modified": "2026-06-01T12:00:00Z",
    }
    assert found[2].created_at == datetime(2026, 6, 1, 12, tzinfo=UTC)
    assert site.connections == 1
    assert [query["prefix"] for _, query, _ in aws.asked] == ["in/"] * 3


async def test_changes_between_two_looks_are_events(aws: Aws) -> None:
    aws.objects = {"a": ("1", b"x"), "b": ("1", b"x")}
    kind = source(site := StandIn(), aws.listing)
    async with reading(kind, site) as one:
        await events(one, 2)
        assert isinstance(await one.next(), Moved)
        aws.objects["a"] = ("2", b"x")
        del aws.objects["b"]
        found = await events(one, 2)
        assert isinstance(await one.next(), Moved)
    aws.objects["b"] = ("1", b"x")
    async with reading(kind, site) as one:
        found += await events(one, 1)

    assert [(event.event_type, event.key) for event in found] == [("update", "a"), ("delete", "b"), ("create", "b")]
    assert found[1].data == {"bucket": "uploads", "key": "b"}
    assert found[1].id.startswith("uploads/b@")
    assert found[1].id.endswith("!deleted")


async def test_a_growing_bucket_is_listed_after_the_last_key(aws: Aws) -> None:
    aws.objects = {"a": ("1", b"x"), "b": ("1", b"x")}
    kind = source(site := StandIn(), aws.listing, order="growing")
    async with reading(kind, site) as one:
        await events(one, 2)
    aws.objects["c"] = ("1", b"x")
    async with reading(kind, site) as one:
        assert (await one.event()).key == "c"

    assert aws.asked[-1][1]["start-after"] == "b"


async def test_what_is_in_a_listed_object_is_read(aws: Aws) -> None:
    aws.objects = {"a": ("1", b"hello"), "b": ("1", b"too long")}
    async with reading(source(site := StandIn(), aws.listing, content="text", max_content_bytes=5), site) as one:
        found = await events(one, 2)

    assert found[0].data["content"] == "hello"
    assert found[1].data["content_omitted"] == "too_large"


async def test_a_time_beyond_all_times_is_none_of_s3() -> None:
    class Client:
        async def list_objects_v2(self, **_: Any) -> Any:
            at = datetime.fromisoformat("0001-01-01T00:00:00+14:00")
            return {"Contents": [{"Key": "a", "ETag": "e", "Size": 1, "LastModified": at}]}

    bucket = _Bucket(
        client=Client(), config=Config.model_validate({"mode": "list", "bucket": "uploads"}), name="uploads"
    )
    with pytest.raises(NotConnected, match="the answer is none of S3"):
        await anext(aiter(bucket.pages(None)))


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ((403, "InvalidAccessKeyId"), Refused, "check the access key"),
        ((403, "AccessDenied"), Refused, "allow the action"),
        ((404, "NoSuchBucket"), Refused, "check the name and the region"),
        ((503, "SlowDown"), NotConnected, "answered SlowDown"),
    ],
)
async def test_an_error_ends_the_look_and_the_next_one_goes_on(
    aws: Aws, error: tuple[int, str], kind: type[Exception], words: str
) -> None:
    aws.objects = {"a": ("1", b"x")}
    made = source(site := StandIn(), aws.listing)
    aws.error = error
    async with reading(made, site) as one:
        with pytest.raises(kind, match=f"listing bucket 'uploads': .*{words}") as raised:
            await one.next()
    assert "canary" not in str(raised.value)

    aws.error = None
    async with reading(made, site) as one:
        assert (await one.event()).key == "a"
