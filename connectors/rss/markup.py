"""RSS and Atom by feedparser. It blocks: 0.7 s per MiB of an ordinary feed, measured, up to 5 s of one made to hurt.

Nothing in a feed is cleaned, and nothing resolved but links: texts are as the feed has them, markup of strangers.
feedparser gets a stream, never text or bytes: those it would take for a file's name or an address first.
"""

import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from connectors.rss.entries import Feed, Gathering, NotAFeed, Said

_MOST_TTL_MINUTES: Final = 366 * 24 * 60
_HARMLESS: Final = frozenset({"CharacterEncodingOverride", "NonXMLContentType"})
"""What feedparser calls broken although only the server's Content-Type is."""


def parse(body: bytes, *, content_type: str, address: str) -> Feed:
    """Read a feed. Raises NotAFeed."""
    import feedparser

    headers = {"content-type": content_type} if content_type else {}
    try:
        found = feedparser.parse(
            io.BytesIO(body), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
        )
    except Exception as error:  # its handlers stumble over strangers' bytes in ways that nobody lists
        raise NotAFeed(f"feedparser fails with {type(error).__name__}") from error
    version = found.get("version") or ""
    if not version:
        raise NotAFeed("it is neither RSS nor Atom nor JSON Feed")
    head = found["feed"]
    gathering = Gathering(version=version, address=address, title=_of(head, "title"), link=_of(head, "link"))
    for entry in found["entries"]:
        gathering.add(_said(entry))
    return gathering.feed(ttl_seconds=_ttl(_of(head, "ttl")), broken=_broken(found))


def _of(where: Mapping[str, Any], name: str) -> Any:
    """Read what is there under its own name: feedparser's dictionaries answer with other fields, and warn."""
    return dict.get(where, name) if isinstance(where, dict) else None


def _said(entry: Mapping[str, Any]) -> Said:
    published, updated = _of(entry, "published"), _of(entry, "updated")
    return Said(
        id=_of(entry, "id"),
        link=_of(entry, "link"),
        title=_of(entry, "title"),
        summary=_of(entry, "summary"),
        content=_content(entry),
        date=published or updated,
        published=_date(_of(entry, "published_parsed")),
        updated=_date(_of(entry, "updated_parsed")),
        authors=_authors(entry),
        categories=(_of(one, "term") or _of(one, "label") for one in _of(entry, "tags") or ()),
        enclosures=_enclosures(entry),
    )


def _content(entry: Mapping[str, Any]) -> str | None:
    """Return the richest of several forms: markup before plain text."""
    forms = [one for one in _of(entry, "content") or () if _of(one, "value")]
    forms.sort(key=lambda one: _of(one, "type") == "text/plain")
    return _of(forms[0], "value") if forms else None


def _authors(entry: Mapping[str, Any]) -> Iterator[str]:
    for one in _of(entry, "authors") or ():
        yield _of(one, "name") or _of(one, "email") or ""
    yield _of(entry, "author") or "" if not _of(entry, "authors") else ""


def _enclosures(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for one in _of(entry, "links") or ():
        if _of(one, "rel") == "enclosure":
            yield {"url": _of(one, "href"), "type": _of(one, "type"), "length": _of(one, "length")}
    for one in _of(entry, "media_content") or ():
        yield {"url": _of(one, "url"), "type": _of(one, "type"), "length": _of(one, "filesize")}


def _date(parsed: Any) -> datetime | None:
    """Return what feedparser made of a date, in UTC; None where it is none, such as a 30 February."""
    try:
        year, month, day, hour, minute, second = tuple(parsed)[:6]
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _ttl(text: Any) -> float | None:
    """Minutes, as RSS 2.0 has them."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return 60.0 * min(int(text), _MOST_TTL_MINUTES) or None


def _broken(found: Mapping[str, Any]) -> str | None:
    if not found.get("bozo"):
        return None
    name = type(found.get("bozo_exception")).__name__
    return None if name in _HARMLESS else name
