"""A GCS emulator that others wrote: objects are listed, read by their generation, changed and deleted."""

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession

from connectors import gcs
from connectors.base.contract import Moved, Received
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from tests.peers.programs import free_port, needs, running
from tests.unit.connectors.standing import Reading, StandIn, reading

pytestmark = needs("gcp-storage-emulator")


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    at = f"http://127.0.0.1:{(port := free_port())}"
    arguments = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory", "--default-bucket", "uploads"]
    with running("gcp-storage-emulator", arguments, log=tmp_path_factory.mktemp("gcs") / "log", at=f"{at}/"):
        yield at


class Bucket:
    """The emulator's bucket, as another writer sees it."""

    def __init__(self, at: str, http: ClientSession, site: StandIn) -> None:
        self.at, self.http, self.site = at, http, site

    async def put(self, name: str, content: bytes = b"abc") -> None:
        url = f"{self.at}/upload/storage/v1/b/uploads/o?uploadType=media&name={quote(name, safe='')}"
        async with self.http.post(url, data=content, headers={"Content-Type": "text/plain"}) as answer:
            answer.raise_for_status()

    async def delete(self, name: str) -> None:
        async with self.http.delete(f"{self.at}/storage/v1/b/uploads/o/{quote(name, safe='')}") as answer:
            answer.raise_for_status()

    def source(self, prefix: str, **options: Any) -> gcs.Source:
        given = {
            "mode": "list",
            "emit_existing": True,
            "bucket": "uploads",
            "prefix": prefix,
            "interval": 0.05,
            "endpoint_url": self.at,
            "anonymous": True,
        }
        return gcs.Source(gcs.Config.model_validate({**given, **options}), self.site)


@pytest.fixture
async def bucket(emulator: str) -> AsyncIterator[Bucket]:
    async with ClientHttp(Policy(allowed=("127.0.0.0/8",))) as http, ClientSession() as client:
        yield Bucket(emulator, client, StandIn(http=http, real_time=True))


async def events(one: Reading, count: int) -> list[Received]:
    return [await one.event() for _ in range(count)]


async def test_objects_are_listed_and_looked_at_again(bucket: Bucket) -> None:
    names = [f"listed/{name}.txt" for name in ("a b", "ü+&", "x")]
    for name in names:
        await bucket.put(name)
    async with reading(bucket.source("listed/"), bucket.site) as one:
        first = await events(one, 3)
        assert isinstance(await one.next(), Moved)
    await bucket.put(names[0], b"changed")
    await bucket.delete(names[1])
    await bucket.put("listed/new.txt")
    await bucket.put("elsewhere/a")
    async with reading(bucket.source("listed/"), bucket.site) as one:
        second = await events(one, 3)
        assert isinstance(await one.next(), Moved)
        await bucket.put("listed/newer.txt")
        third = await one.event()

    assert sorted(event.key or "" for event in first) == sorted(names)
    assert first[0].data["size_bytes"] == 3
    assert {(event.event_type, event.key) for event in (*second, third)} == {
        ("update", names[0]),
        ("delete", names[1]),
        ("create", "listed/new.txt"),
        ("create", "listed/newer.txt"),
    }
    assert len({event.id for event in (*first, *second, third)}) == 7


async def test_what_is_in_an_object_is_read(bucket: Bucket) -> None:
    await bucket.put("read/a b%2F+.json", b'{"total": 3}')
    async with reading(bucket.source("read/", content="auto"), bucket.site) as one:
        event = await one.event()

    assert (event.key, event.data["content"]) == ("read/a b%2F+.json", {"total": 3})


async def test_a_growing_bucket_goes_on_after_its_last_name(bucket: Bucket) -> None:
    found = []
    for number in range(3):
        await bucket.put(f"growing/{number}")
        async with reading(bucket.source("growing/", order="growing"), bucket.site) as one:
            found.append(await one.event())

    assert [event.key for event in found] == ["growing/0", "growing/1", "growing/2"]
