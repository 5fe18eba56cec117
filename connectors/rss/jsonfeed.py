"""JSON Feed 1.0 and 1.1 (jsonfeed.org), by hand: feedparser does not know it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from connectors.rss.entries import Feed, Gathering, NotAFeed, Said

_BOM: Final = b"\xef\xbb\xbf"


def is_meant(body: bytes) -> bool:
    """Say whether it is JSON by its first character, whatever the server calls it."""
    return body.removeprefix(_BOM)[:1024].lstrip()[:1] == b"{"


def parse(body: bytes, *, address: str) -> Feed:
    """Read a feed. Raises NotAFeed."""
    try:
        found = orjson.loads(body.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        raise NotAFeed("it begins like JSON and is not") from error
    version, items = _of(found, "version"), _of(found, "items")
    if not isinstance(version, str) or "jsonfeed.org/version/" not in version or not isinstance(items, list):
        raise NotAFeed("it is JSON, but no JSON Feed: `version` and `items` are missing")
    gathering = Gathering(
        version=version[:100], address=address, title=_text(found, "title"), link=_text(found, "home_page_url")
    )
    for item in items:
        if isinstance(item, dict):
            gathering.add(_said(item))
    return gathering.feed()


def _of(where: Any, name: str) -> Any:
    return where.get(name) if isinstance(where, dict) else None


def _text(where: Any, name: str) -> str | None:
    """Return a text; version 1 allowed numbers as ids."""
    value = _of(where, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _list(where: Any, name: str) -> list[Any]:
    value = _of(where, name)
    return value if isinstance(value, list) else []


def _said(item: Mapping[str, Any]) -> Said:
    return Said(
        id=_text(item, "id"),
        link=_text(item, "url") or _text(item, "external_url"),
        title=_text(item, "title"),
        summary=_text(item, "summary"),
        content=_text(item, "content_html") or _text(item, "content_text"),
        date=_text(item, "date_published") or _text(item, "date_modified"),
        published=_date(_text(item, "date_published")),
        updated=_date(_text(item, "date_modified")),
        authors=_authors(item),
        categories=(one for one in _list(item, "tags") if isinstance(one, str)),
        enclosures=(
            {"url": _text(one, "url"), "type": _text(one, "mime_type"), "length": _of(one, "size_in_bytes")}
            for one in _list(item, "attachments")
        ),
    )


def _authors(item: Mapping[str, Any]) -> Iterator[str]:
    """Version 1.1 has a list, 1.0 one author."""
    for one in (*_list(item, "authors"), _of(item, "author")):
        yield _text(one, "name") or _text(one, "url") or ""


def _date(text: str | None) -> datetime | None:
    """RFC 3339."""
    try:
        at = datetime.fromisoformat(text or "")
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
