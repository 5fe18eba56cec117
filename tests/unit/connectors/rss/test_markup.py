"""The process that reads feeds: it answers, and it is ended when it is made to work for ever or to take all memory."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from connectors.rss import markup, reader
from connectors.rss.entries import Feed, NotAFeed
from connectors.rss.markup import TakesTooLong

ENTRY = b"<item><guid isPermaLink='false'>a</guid></item>"


async def parse(body: bytes, *, content_type: str = "application/xml") -> Feed:
    return markup.made(await markup.read(body, content_type=content_type), address="https://a.example/feed")


def rss(inside: bytes, *, before: bytes = b"") -> bytes:
    return before + b'<rss version="2.0"><channel><ttl>90</ttl>' + inside + b"</channel></rss>"


async def test_a_feed_is_read_in_a_process() -> None:
    feed = await parse(rss(ENTRY))

    assert (feed.version, feed.ttl_seconds, feed.broken, [one.id for one in feed.entries]) == (
        "rss20",
        5400.0,
        None,
        ["a"],
    )


async def test_what_is_no_feed_is_told() -> None:
    with pytest.raises(NotAFeed, match="neither RSS nor Atom"):
        await parse(b"<html></html>", content_type="text/html")


async def test_a_header_that_no_argument_can_be_is_none() -> None:
    assert len((await parse(rss(ENTRY), content_type="text/xml\0\ud800")).entries) == 1


def test_what_feedparser_stumbles_over_is_no_feed() -> None:
    with pytest.raises(NotAFeed, match="feedparser fails with AssertionError"):
        markup.made(b'{"error": "AssertionError"}', address="https://a.example/feed")


async def test_a_process_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dies = tmp_path / "dies.py"
    dies.write_text("raise SystemExit(9)")
    monkeypatch.setattr(reader, "__file__", str(dies))

    with pytest.raises(NotAFeed, match="ended with 9"):
        await parse(rss(ENTRY))


@pytest.mark.parametrize(
    "bomb",
    [
        rss(ENTRY + b"<item>" + b"<a>" * 20_000),
        rss(ENTRY + b"<item>" + b"<a>" * 20_000 + b"</a>" * 20_000 + b"</item>"),
        rss(ENTRY + b"<item><description>" + b"&lt;div>" * 20_000 + b"</description></item>"),
        rss(
            ENTRY + b"<item><title>&e9;</title></item>",
            before=b'<!DOCTYPE rss [<!ENTITY e0 "lol">'
            + b"".join(b'<!ENTITY e%d "%s">' % (level, b"&e%d;" % (level - 1) * 10) for level in range(1, 10))
            + b"]>",
        ),
    ],
    ids=["unclosed", "nested", "escaped", "entities"],
)
async def test_bombs_end_in_a_feed_of_bounded_size(bomb: bytes) -> None:
    feed = await parse(bomb)

    assert feed.entries[0].id == "a"
    assert sum(len(repr(one.data)) for one in feed.entries) < 200_000


async def test_a_feed_that_takes_for_ever_is_given_up_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "READ_SECONDS", 0.3)
    for_ever = rss(ENTRY, before=b'<?xml version="1.0"?>' + b"\n<!ENTITY" * 1_000_000)

    outcomes = await asyncio.gather(
        *(markup.read(for_ever, content_type="") for _ in range(2 * markup.AT_A_TIME)), return_exceptions=True
    )
    assert {type(one) for one in outcomes} == {TakesTooLong}

    monkeypatch.undo()
    assert len((await parse(rss(ENTRY))).entries) == 1


async def test_reading_that_is_cancelled_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    made: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()
    create = asyncio.create_subprocess_exec

    async def noted(*program: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await create(*program, **options)
        made.set_result(process)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    for_ever = rss(ENTRY, before=b'<?xml version="1.0"?>' + b"\n<!ENTITY" * 1_000_000)
    reading = asyncio.ensure_future(markup.read(for_ever, content_type=""))
    process = await made
    reading.cancel()
    await asyncio.wait([reading])

    assert reading.cancelled()
    assert process.returncode is not None


@pytest.mark.parametrize(
    ("parts", "is_one"), [(None, False), ([2026, 2, 30, 0, 0, 0], False), ([2026, 6, 30, 23, 59, 60], True)]
)
def test_a_date_that_is_none_is_left_out(parts: list[int] | None, is_one: bool) -> None:
    assert (markup._date(parts) is not None) is is_one


@pytest.mark.parametrize("text", [None, "", "0", "-1", "1.5", "9" * 10, "٣", 60])
def test_a_ttl_that_is_none_is_left_out(text: object) -> None:
    assert markup._ttl(text) is None
