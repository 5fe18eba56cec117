"""Feeds: JSON Feed, what is done by hand around feedparser, and feedparser itself; addresses, redirects, headers."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from yarl import URL

from connectors import rss
from connectors.base.contract import NotConnected, Refused
from connectors.base.reach import targets
from connectors.base.reach.http import retry_after
from connectors.rss import address, jsonfeed, markup, memory, reader
from connectors.rss.entries import Entry, Feed, NotAFeed, oldest_first
from connectors.rss.memory import Memory
from connectors.rss.source import _event
from tests.fuzz.mutation import Mutator
from tests.fuzz.standing import NOW, Answering, FuzzSite, outcome, read_out
from tests.fuzz.targets import Target, landed, named, stored

DATES: Final = (
    *("2026-06-01T12:00:00Z", "2026-06-01T12:00:00+02:00", "2026-06-01", "Mon, 01 Jun 2026 12:00:00 GMT"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "20260601", "2026-W23-1", "yesterday"),
)
URLS: Final = (
    *("https://a.example/posts/1?x=y#z", "/posts/2", "posts/3", "//b.example/4", "?page=5", "mailto:a@b.example"),
    *("http://u:p@[::1]:8080/x", "http://a.example:99999/", "https://[", "http://münchen.example/ü", "data:,x", ""),
)

# ---- JSON Feed -------------------------------------------------------------------------------------------------------

JSON_FEEDS: Final[tuple[Any, ...]] = (
    {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "Example",
        "home_page_url": "https://a.example/",
        "items": [
            {
                "id": "2",
                "url": "https://a.example/2",
                "title": "Two",
                "content_html": "<p>Hello</p>",
                "summary": "s",
                "date_published": "2026-06-01T12:00:00Z",
                "date_modified": "2026-06-01T14:00:00+02:00",
                "authors": [{"name": "Ann", "url": "https://a.example/ann"}, {}],
                "tags": ["a", "b"],
                "attachments": [{"url": "2.mp3", "mime_type": "audio/mpeg", "size_in_bytes": 9_000}],
            },
            {"id": 1, "external_url": "//b.example/1", "content_text": "x", "author": {"name": "Bob"}},
        ],
    },
    {
        "version": "https://jsonfeed.org/version/1",
        "items": [{"content_text": "no id"}, {"title": "t", "date_published": "x"}],
    },
)


def json_feed(draw: Mutator) -> bytes:
    return draw.json(JSON_FEEDS, broken=0.15)


def check_json_feed(given: bytes) -> str:
    if not jsonfeed.is_meant(given):
        return "no JSON"
    try:
        feed = jsonfeed.parse(given, address="https://a.example/feed?key=secret")
    except NotAFeed as error:
        return named(error)
    return known(feed)


def known(feed: Feed) -> str:
    """What comes of a feed: events, and a position that knows all of them."""
    entries = oldest_first(feed.entries)
    after = Memory(tag="t").after(entries)
    assert after.fresh(entries) == []
    stored(after.position())
    assert memory.read(after.position()) == after
    ends = {landed(_event(one)) for one in entries}
    return "no entries" if not ends else "event" if ends == {"event"} else min(ends - {"event"})


# ---- RSS and Atom ----------------------------------------------------------------------------------------------------

READ: Final = {
    "version": "rss20",
    "broken": None,
    "title": "Example",
    "link": "https://a.example/",
    "ttl": "60",
    "entries": [
        {
            "id": "tag:1",
            "link": "/1",
            "title": "One",
            "summary": "s",
            "content": "<p>x</p>",
            "date": "Mon, 01 Jun 2026 12:00:00 GMT",
            "published": [2026, 6, 1, 12, 0, 0],
            "updated": [2026, 2, 29, 24, 61, 61],
            "authors": ["Ann", ""],
            "categories": ["a"],
            "enclosures": [{"url": "1.mp3", "type": "audio/mpeg", "length": "9000"}],
        }
    ],
}
"""What the reader's process answers: it is of this shape, whatever is in a feed."""


def answer(draw: Mutator) -> bytes:
    def text(*seeds: str) -> str | None:
        return None if draw.happens(0.1) else draw.text(seeds or ("x", *DATES, *URLS))

    def date() -> list[int] | None:
        parts = [draw.pick((2026, 1, 0, -1, 9999, 10_000, 2**40)), *(draw.below(70) for _ in range(5))]
        return None if draw.happens(0.2) else parts

    def entry() -> dict[str, Any]:
        return {
            "id": text("tag:1"),
            "link": text(*URLS),
            **{name: text() for name in ("title", "summary", "content", "date")},
            "published": date(),
            "updated": date(),
            "authors": [text("Ann") or "" for _ in range(draw.below(3))],
            "categories": [text("a") or "" for _ in range(draw.below(3))],
            "enclosures": [
                {"url": text(*URLS), "type": text("audio/mpeg"), "length": text("9000")} for _ in range(draw.below(2))
            ],
        }

    head = {"version": draw.pick(("rss20", "atom10", "")), "broken": None, "title": text("T"), "link": text(*URLS)}
    return reader.encoded({**head, "ttl": text("60", "1"), "entries": [entry() for _ in range(draw.below(3))]})


def check_answer(given: bytes) -> str:
    try:
        feed = markup.made(given, address="https://u:p@a.example/feed?key=secret")
    except NotAFeed as error:
        return named(error)
    assert feed.ttl_seconds is None or 0 < feed.ttl_seconds < 10**9
    return known(feed)


MARKUP: Final = (
    b"""<?xml version="1.0" encoding="utf-8"?><rss version="2.0" xmlns:media="http://search.yahoo.com/mrss/"><channel>
<title>T</title><link>https://a.example/</link><ttl>60</ttl><item><guid isPermaLink="false">1</guid><title>A &amp; B
</title><link>/1</link><pubDate>Mon, 01 Jun 2026 12:00:00 GMT</pubDate><category>c</category>
<author>a@b.example (Ann)</author>
<description><![CDATA[<p>x</p>]]></description><enclosure url="1.mp3" length="9" type="audio/mpeg"/>
<media:content url="m.jpg" fileSize="7"/></item><item><title>no id</title></item></channel></rss>""",
    b"""<feed xmlns="http://www.w3.org/2005/Atom"><title type="html">T</title><link href="https://a.example/"/>
<entry><id>tag:1</id><title>A</title><link rel="alternate" href="/1"/><link rel="enclosure" href="e" length="3"/>
<updated>2026-06-01T12:00:00Z</updated><published>2026-06-01T12:00:00+02:00</published><author><name>Ann</name></author>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><b>x</b></div></content>
<category term="c"/></entry></feed>""",
    b"""<?xml version='1.0' encoding='iso-8859-1'?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>\xe4</title></channel>
<item rdf:about="x"><title>&eacute;&#233;&#xD800;</title><dc:date>2026-06-01</dc:date></item></rdf:RDF>""",
    b"<!DOCTYPE html><html><head><title>503</title></head><body>gone</body></html>",
)
XML_WORDS: Final = (
    *(b"<", b">", b"&", b"&lt;", b"&#x110000;", b"&#0;", b"&#xFFFFFFFFFFFF;", b"&nbsp;", b"]]>", b"<![CDATA[", b"<!--"),
    *(b"<item>", b"</item>", b"<entry>", b"</entry>", b"<guid>", b"<title>", b"</channel>", b"<?xml?>", b"\xff\xfe"),
    *(b"<!DOCTYPE r [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>", b"&b;", b'encoding="utf-16"', b"xmlns:x='y'", b"\x00"),
    *(
        b"<updated>",
        b"9999-99-99",
        b"<pubDate>0</pubDate>",
        b"<media:thumbnail url='x'/>",
        b"<georss:point>1 x</georss:point>",
    ),
)
CONTENT_TYPES: Final = (
    "",
    "application/xml",
    "text/xml; charset=iso-8859-1",
    "application/rss+xml;charset=utf-16",
    "text/html",
)


def document(draw: Mutator) -> tuple[bytes, str]:
    return draw.raw(MARKUP, XML_WORDS, most=6), draw.text(CONTENT_TYPES, most=1)


def check_document(given: tuple[bytes, str]) -> str:
    body, content_type = given
    try:
        found = reader.found(body, content_type)
    except Exception as error:  # noqa: BLE001 as in the process that reads feeds: feedparser has no list of its errors
        return f"feedparser: {type(error).__name__}"
    try:
        feed = markup.made(reader.encoded(found), address="https://a.example/feed")
    except NotAFeed as error:
        return named(error)
    word = known(feed)
    return word if feed.broken is None else f"{word}, broken"


# ---- what servers say about a feed -----------------------------------------------------------------------------------

HEADERS: Final = {
    "ETag": ('"abc"', 'W/"abc"', "", "é", "x" * 2000),
    "Last-Modified": ("Mon, 01 Jun 2026 12:00:00 GMT", "0", ""),
    "Cache-Control": ("max-age=3600", "no-cache, max-age=0", "max-age=99999999999999999999", "MAX-AGE = 5"),
    "Retry-After": ("120", "Mon, 01 Jun 2026 12:30:00 GMT", "-1", "1e9", "Mon, 01 Jan 0001 00:00:00 +1400"),
    "Content-Type": ("application/feed+json", "text/html", ""),
}


def headed(draw: Mutator) -> tuple[list[int], list[dict[str, str]], bytes]:
    def headers() -> dict[str, str]:
        return {name: draw.text(HEADERS[name]) for name in HEADERS if draw.happens(0.5)}

    statuses = [draw.pick((200, 200, 200, 304, 301, 404, 410, 429, 503, 299, 600)) for _ in range(3)]
    return statuses, [headers() for _ in range(3)], draw.json(JSON_FEEDS, broken=0.05)


def check_headed(given: tuple[list[int], list[dict[str, str]], bytes]) -> str:
    statuses, headers, body = given
    http = Answering(*((status, head, body) for status, head in zip(statuses, headers, strict=True)))
    if not jsonfeed.is_meant(body):
        return "no JSON"  # another process would be asked
    site = FuzzSite(http)
    source = rss.Source(rss.Config.model_validate({"url": "https://a.example/f?key=s", "emit_existing": True}), site)
    items, end = read_out(source)
    for _, _, sent in http.asked:
        targets.headers_of(sent)
    return outcome(items, end)


MOVED: Final = (
    *(
        "/new",
        "https://b.example/feed.xml",
        "https://a.example/feed?key=secret&v=2",
        "https://u:p@a.example/feed/secret-path/x",
    ),
    *("?key=secret", "//c.example/secret-path", "https://a.example:443/feed?token=abcdefghijkl", *URLS),
)
CONFIGURED: Final = (
    "https://a.example/feed?key=secret",
    "http://u:p@a.example:8080/secret-path/feed#x",
    "https://a.example",
)


def moved(draw: Mutator) -> tuple[str, list[tuple[int, str]]]:
    steps = [(draw.pick((301, 301, 308, 302, 303, 307)), draw.text(MOVED)) for _ in range(draw.pick((1, 1, 1, 2, 7)))]
    return draw.pick(CONFIGURED) if draw.happens(0.8) else draw.text(CONFIGURED), steps


def check_moved(given: tuple[str, list[tuple[int, str]]]) -> str:
    configured, steps = given
    try:
        going = targets.Going.begin("GET", configured, {"Authorization": "x"}, json=None, data=None)
        for status, location in steps:
            going.redirect(status, location)
    except (Refused, NotConnected) as error:
        return named(error)
    assert going.url.scheme in ("http", "https")
    assert URL(str(going.url)) == going.url
    if going.moved_to is None:
        return "for now"
    pieces = address.stored(going.moved_to, configured)
    address.with_user(going.moved_to, configured)
    if pieces is None:
        return "secret"
    stored(pieces)
    assert address.read(orjson.loads(orjson.dumps(pieces)), configured) == address.plain(going.moved_to)
    return "for good"


def url(draw: Mutator) -> str:
    return draw.text(
        (
            *URLS,
            *CONFIGURED,
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::ffff:1.2.3.4%25x]/",
        )
    )


def check_url(given: str) -> str:
    try:
        made = targets.target_of(given, {"http", "https"})
    except Refused as error:
        return named(error)
    assert made.raw_host
    assert made.port
    return "target"


def patience(draw: Mutator) -> str:
    return draw.text(HEADERS["Retry-After"])


def check_patience(given: str) -> str:
    said: Mapping[str, str] = {"Retry-After": given}
    seconds = retry_after(said, NOW)
    if seconds is None:
        return "unread"
    assert 0 <= seconds < 10**12
    return "now" if seconds == 0 else "later"


def position(draw: Mutator) -> tuple[Any, str]:
    entries = [Entry(id=str(n), published=None, updated=None, data={}) for n in range(5)]
    right = (
        Memory(tag="t", etag='"x"', last_modified="y", moved=["https://b.example/", [3, 4]]).after(entries).position()
    )
    return draw.value([right]), draw.pick(CONFIGURED)


def check_position(given: tuple[Any, str]) -> str:
    said, configured = given
    try:
        read = memory.read(said)
    except ValueError as error:
        return named(error)
    if read is None:
        return "none"
    return "place" if address.read(read.moved, configured) else "known"


TARGETS: Final = (
    Target(name="json-feed", make=json_feed, check=check_json_feed),
    Target(name="feed-entries", make=answer, check=check_answer),
    Target(name="feedparser", make=document, check=check_document, cost=10, chunk=100),
    Target(name="feed-polls", make=headed, check=check_headed),
    Target(name="feed-positions", make=position, check=check_position),
    Target(name="redirects", make=moved, check=check_moved),
    Target(name="urls", make=url, check=check_url),
    Target(name="retry-after", make=patience, check=check_patience),
)
