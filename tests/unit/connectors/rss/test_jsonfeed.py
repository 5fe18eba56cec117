"""JSON Feed, both versions, and what only looks like it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.rss import jsonfeed
from connectors.rss.entries import Feed, NotAFeed

VERSION = "https://jsonfeed.org/version/1.1"


def parse(found: Any) -> Feed:
    return jsonfeed.parse(json.dumps(found).encode(), address="https://a.example/feed.json")


def test_a_feed_of_version_1_1_is_read() -> None:
    feed = parse(
        {
            "version": VERSION,
            "title": "News",
            "home_page_url": "https://a.example/",
            "items": [
                {
                    "id": "2",
                    "url": "/two",
                    "title": "Two",
                    "content_html": "<p>two</p>",
                    "content_text": "two",
                    "summary": "s",
                    "date_published": "2026-06-01T12:00:00+02:00",
                    "date_modified": "2026-06-01T12:30:00Z",
                    "authors": [{"name": "Ann"}, {"url": "https://bob.example/"}, 7],
                    "tags": ["x", 1],
                    "attachments": [{"url": "/a.mp3", "mime_type": "audio/mpeg", "size_in_bytes": 12}, None],
                },
                {"id": "1", "content_text": "one"},
            ],
        }
    )

    two, one = feed.entries
    assert (feed.version, feed.broken) == (VERSION, None)
    assert (two.id, one.id) == ("2", "1")
    assert two.published == datetime(2026, 6, 1, 10, tzinfo=UTC)
    assert two.data["link"] == "https://a.example/two"
    assert (two.data["content"], one.data["content"]) == ("<p>two</p>", "one")
    assert two.data["authors"] == ["Ann", "https://bob.example/"]
    assert two.data["categories"] == ["x"]
    assert two.data["enclosures"] == [{"url": "https://a.example/a.mp3", "type": "audio/mpeg", "length": 12}]
    assert two.data["feed"] == {"title": "News", "link": "https://a.example/"}


def test_version_1_had_one_author_and_numbers_as_ids() -> None:
    feed = parse(
        {
            "version": "https://jsonfeed.org/version/1",
            "items": [{"id": 7, "author": {"name": "Ann"}, "external_url": "https://b.example/"}, 7],
        }
    )

    (one,) = feed.entries
    assert (one.id, one.data["authors"], one.data["link"]) == ("7", ["Ann"], "https://b.example/")


@pytest.mark.parametrize("date", ["", "soon", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", 7])
def test_a_date_that_is_none_is_left_out(date: Any) -> None:
    (one,) = parse({"version": VERSION, "items": [{"id": "1", "date_published": date}]}).entries

    assert (one.published, one.data["published"]) == (None, None)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"error": "not found"}',
        b'{"version": 7, "items": []}',
        b'{"version": "https://jsonfeed.org/version/1"}',
        b'{"version": "https://example.org/version/1", "items": []}',
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'{"version": "\\ud800"}',
    ],
)
def test_other_json_is_no_feed(body: bytes) -> None:
    assert jsonfeed.is_meant(body)
    with pytest.raises(NotAFeed):
        jsonfeed.parse(body, address="https://a.example/")


def test_json_is_told_by_its_first_character() -> None:
    assert jsonfeed.is_meant(b"\xef\xbb\xbf \r\n{")
    assert not jsonfeed.is_meant(b"<rss>{")
    assert not jsonfeed.is_meant(b"")


FIELDS = [
    "id", "url", "external_url", "title", "summary", "content_html", "content_text", "date_published", "authors",
    "author", "name", "tags", "attachments", "mime_type", "size_in_bytes", "items", "version", "home_page_url",
]  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=8),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=5), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_any_items_are_read_and_become_json(items: list[Any], more: dict[str, Any]) -> None:
    feed = parse({**more, "version": VERSION, "items": items})

    json.dumps([one.data for one in feed.entries]).encode()
    assert len({one.id for one in feed.entries}) == len(feed.entries)
