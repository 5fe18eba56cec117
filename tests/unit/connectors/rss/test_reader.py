"""feedparser's answers: what becomes of the fields of RSS and Atom, and of bytes that are no feed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.rss import markup, reader
from connectors.rss.entries import Feed, NotAFeed

STUMBLES = (AssertionError, LookupError, TypeError, ValueError)
"""What feedparser raises over damaged feeds; `reader.main` turns all of them into words."""
RSS = b"""<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:content="http://purl.org/rss/1.0/modules/content/">
<channel><title>News</title><link>https://a.example/</link><ttl>90</ttl>
<item><guid isPermaLink="false">g2</guid><link>/two</link><title>Two &amp; more</title>
<description>&lt;script&gt;x()&lt;/script&gt;short</description>
<content:encoded><![CDATA[<p onclick="x()">long</p>]]></content:encoded>
<pubDate>Mon, 01 Jun 2026 12:00:00 +0200</pubDate><dc:creator>Ann</dc:creator>
<category>x</category><category>y</category>
<enclosure url="https://a.example/a.mp3" length="12" type="audio/mpeg"/></item>
<item><guid>https://a.example/one</guid><title>One</title></item>
<item><link>https://a.example/zero</link><pubDate>Mon, 31 Feb 2026 12:00:00 GMT</pubDate></item>
</channel></rss>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><title>News</title><link href="https://a.example/"/>
<entry><id>tag:a.example,2026:1</id><title type="html">One &lt;b>bold&lt;/b></title><link href="one"/>
<author><name>Ann</name></author><author><name>Bob</name></author>
<category term="x" label="X"/><summary>s</summary><content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml">
<p>c</p></div></content><updated>2026-06-01T12:00:00Z</updated>
<link rel="enclosure" href="/a.mp3" type="audio/mpeg" length="12"/></entry></feed>"""


def parse(body: bytes, *, content_type: str = "application/xml", address: str = "https://a.example/feed") -> Feed:
    return markup.made(reader.encoded(reader.found(body, content_type)), address=address)


def test_a_feed_of_rss_is_read() -> None:
    feed = parse(RSS)

    two, one, zero = feed.entries
    assert (feed.version, feed.ttl_seconds, feed.broken) == ("rss20", 5400.0, None)
    assert [two.id, one.id, zero.id] == ["g2", "https://a.example/one", "https://a.example/zero"]
    assert two.data == {
        "id": "g2",
        "title": "Two & more",
        "link": "https://a.example/two",
        "summary": "<script>x()</script>short",
        "content": '<p onclick="x()">long</p>',
        "authors": ["Ann"],
        "categories": ["x", "y"],
        "published": "2026-06-01T10:00:00Z",
        "updated": None,
        "enclosures": [{"url": "https://a.example/a.mp3", "type": "audio/mpeg", "length": 12}],
        "feed": {"title": "News", "link": "https://a.example/"},
        "truncated": [],
    }
    assert one.data["link"] == "https://a.example/one"
    assert zero.published is None


def test_a_feed_of_atom_is_read() -> None:
    feed = parse(ATOM)

    (one,) = feed.entries
    assert (feed.version, one.id, one.updated) == (
        "atom10",
        "tag:a.example,2026:1",
        datetime(2026, 6, 1, 12, tzinfo=UTC),
    )
    assert one.data["title"] == "One <b>bold</b>"
    assert one.data["authors"] == ["Ann", "Bob"]
    assert "<p>c</p>" in one.data["content"]
    assert one.data["summary"] == "s"
    assert one.data["enclosures"] == [{"url": "https://a.example/a.mp3", "type": "audio/mpeg", "length": 12}]


def test_ids_are_the_same_at_another_address() -> None:
    relative = RSS.replace(b"https://a.example/", b"/")

    assert [one.id for one in parse(relative, address="http://b.example/x/y").entries] == [
        one.id for one in parse(relative, address="https://a.example/feed").entries
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"<!DOCTYPE html><html><head><title>502</title></head><body><p>Bad gateway</p></body></html>",
        b"<html><body><h1>Log in</h1></body></html>",
        b"plain text",
        b"<?xml version='1.0'?><sitemap><url>x</url></sitemap>",
        bytes(range(256)),
    ],
)
def test_what_is_no_feed_is_told(body: bytes) -> None:
    with pytest.raises(NotAFeed):
        parse(body, content_type="text/html")


def test_text_that_names_a_file_reads_no_file(tmp_path: Path) -> None:
    secret = tmp_path / "feed.xml"
    secret.write_bytes(RSS)

    with pytest.raises(NotAFeed):
        parse(str(secret).encode())


def test_external_entities_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    body = (
        f'<!DOCTYPE rss [<!ENTITY x SYSTEM "{secret.as_uri()}">]>'
        '<rss version="2.0"><channel><item><guid>1</guid><title>a&x;b</title></item></channel></rss>'
    )

    assert "canary" not in repr(parse(body.encode()))


def test_broken_markup_still_brings_its_entries_and_says_so() -> None:
    feed = parse(RSS.replace(b"Two &amp; more", b"Two & more <b>"))

    assert [one.id for one in feed.entries][:1] == ["g2"]
    assert feed.broken == "SAXParseException"


@pytest.mark.parametrize("content_type", ["text/xml", "text/html", "", "nonsense"])
def test_a_wrong_content_type_does_not_make_a_feed_broken(content_type: str) -> None:
    feed = parse(RSS.replace(b"Two &amp; more", "Zwölf".encode()), content_type=content_type)

    assert feed.broken is None
    assert feed.entries[0].data["title"] == "Zwölf"


def test_the_encoding_is_that_of_the_content_type() -> None:
    body = RSS.replace(b' encoding="utf-8"', b"").replace(b"Two &amp; more", "Zwölf".encode("latin-1"))

    assert parse(body, content_type="application/xml; charset=iso-8859-1").entries[0].data["title"] == "Zwölf"


@pytest.mark.parametrize("reference", [b"&#xD800;", b"&#57343;", b"&#x110000;", b"&#" + b"9" * 5000 + b";"])
def test_a_reference_to_no_character_does_not_spoil_the_feed(reference: bytes) -> None:
    feed = parse(RSS.replace(b"Two &amp; more", b"Two " + reference))

    assert len(feed.entries) == 3
    assert feed.entries[0].data["title"] == "Two \ufffd"


def test_half_a_surrogate_pair_does_not_reach_json() -> None:
    assert reader.encoded({"title": "a\ud800b"}) == b'{"title": "a?b"}'


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_feed_with_any_damage_is_read_or_told(data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from([RSS, ATOM])))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(at, min(len(body), at + 30)))
        body[at:end] = data.draw(st.binary(max_size=8) | st.sampled_from([b"<", b">", b"&", b"<![CDATA[", b"&#xD800;"]))
    try:
        feed = parse(bytes(body))
    except (NotAFeed, *STUMBLES):
        return
    repr([one.data for one in feed.entries]).encode()
