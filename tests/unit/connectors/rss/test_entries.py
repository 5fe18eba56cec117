"""What tells entries apart, what of them becomes data, and in which order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors.rss import entries
from connectors.rss.entries import Gathering, NotAFeed, Said, identity_of, oldest_first

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


def gathering(**more: Any) -> Gathering:
    return Gathering(version="rss20", address="https://a.example/s3cret/feed?key=s3cret", **more)


def test_an_entry_is_told_by_its_id_else_its_link_else_its_words() -> None:
    assert identity_of(Said(id=" g1 ", link="http://a/1", title="t")) == "g1"
    assert identity_of(Said(id="  ", link="http://a/1", title="t")) == "http://a/1"
    by_words = identity_of(Said(title="t", date="d", content="c"))
    assert by_words.startswith("sha256:")
    others = [Said(title="u", date="d", content="c"), Said(title="t", date="e", content="c"), Said(title="t", date="d")]
    assert by_words not in {identity_of(one) for one in others}
    assert by_words == identity_of(Said(title="t", date="d", content="c", authors=["x"], published=NOW))


def test_the_data_of_an_entry_is_json_with_dates_in_utc_and_whole_links() -> None:
    made = gathering(title=" News ", link="https://a.example/blog/")
    made.add(
        Said(
            id="g1",
            link="posts/1",
            title="\ud800One",
            summary="",
            content="<p>c</p>",
            published=NOW.astimezone(tz=None),
            updated=NOW + timedelta(seconds=1.5),
            authors=["Ann", "", "Ann", "Bob"],
            categories=["x"],
            enclosures=[
                {"url": "/a.mp3", "type": "audio/mpeg", "length": "123"},
                {"url": None, "type": None, "length": None},
                {"url": "http://b.example/b.mp3", "type": "", "length": "many"},
            ],
        )
    )

    (one,) = made.feed().entries
    assert one.data == {
        "id": "g1",
        "title": "?One",
        "link": "https://a.example/blog/posts/1",
        "summary": None,
        "content": "<p>c</p>",
        "authors": ["Ann", "Bob"],
        "categories": ["x"],
        "published": "2026-06-01T12:00:00Z",
        "updated": "2026-06-01T12:00:01.500000Z",
        "enclosures": [
            {"url": "https://a.example/a.mp3", "type": "audio/mpeg", "length": 123},
            {"url": "http://b.example/b.mp3", "type": None, "length": None},
        ],
        "feed": {"title": "News", "link": "https://a.example/blog/"},
        "truncated": [],
    }


def test_relative_links_never_show_the_path_of_the_address() -> None:
    made = gathering()
    made.add(Said(id="g1", link="posts/1"))
    made.add(Said(id="g2", link="http://[broken"))

    assert [one.data["link"] for one in made.feed().entries] == ["https://a.example/posts/1", "http://[broken"]


def test_texts_that_are_too_long_are_cut_and_named() -> None:
    made = gathering()
    made.add(Said(id="g1", title="t" * 5000, content="c" * 100_000, summary="s"))

    (one,) = made.feed().entries
    assert len(one.data["title"]) == entries.TITLE_CHARS
    assert len(one.data["content"]) == entries.CONTENT_CHARS
    assert one.data["truncated"] == ["title", "content"]


def test_an_id_that_comes_twice_is_one_entry() -> None:
    made = gathering()
    for title in ("first", "second"):
        made.add(Said(id="g1", title=title))

    assert [one.data["title"] for one in made.feed().entries] == ["first"]


def test_a_feed_with_more_entries_than_a_position_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MOST_ENTRIES", 2)
    made = gathering()
    for number in (1, 2, 2):
        made.add(Said(id=f"g{number}"))

    with pytest.raises(NotAFeed, match="more than 2 entries"):
        made.add(Said(id="g3"))


def test_the_oldest_comes_first_by_date_where_all_have_one_else_in_reverse() -> None:
    made = gathering()
    for number, days in enumerate((2, 3, 1, 1)):
        made.add(Said(id=f"g{number}", published=NOW + timedelta(days=days)))
    assert [one.id for one in oldest_first(made.feed().entries)] == ["g3", "g2", "g0", "g1"]

    made.add(Said(id="g4"))
    assert [one.id for one in oldest_first(made.feed().entries)] == ["g4", "g3", "g2", "g1", "g0"]
