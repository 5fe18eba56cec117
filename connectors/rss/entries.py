"""What a feed says, in one shape for all formats. Made by `connectors.rss.markup` and `connectors.rss.jsonfeed`.

An entry is told from others by its id (Atom id, RSS guid, JSON Feed id), else by its link, else by a hash of its title,
date and content; never by its date alone. Links are compared as the feed writes them, relative ones too, so that a feed
that moves to another address keeps its entries.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urljoin

MOST_ENTRIES: Final = 50_000
"""Of a feed: their ids have to fit into a position."""
TITLE_CHARS: Final = 1_000
LINK_CHARS: Final = 4_096
SUMMARY_CHARS: Final = 16_000
CONTENT_CHARS: Final = 64_000
NAME_CHARS: Final = 500
MOST_NAMES: Final = 100


class NotAFeed(Exception):
    """What came is no feed: an error page, a login, or nothing at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An entry as a format's parser found it; texts may be missing, empty or far too long."""

    id: str | None = None
    link: str | None = None
    title: str | None = None
    summary: str | None = None
    content: str | None = None
    date: str | None = None
    """The date as text, for entries that nothing else tells apart."""
    published: datetime | None = None
    updated: datetime | None = None
    authors: Iterable[str] = ()
    categories: Iterable[str] = ()
    enclosures: Iterable[Mapping[str, str | int | None]] = ()
    """Each with `url`, `type` and `length`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as it becomes the data of an event."""

    id: str
    published: datetime | None
    updated: datetime | None
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A feed that could be read; `entries` in its own order, each id once."""

    version: str
    entries: tuple[Entry, ...]
    ttl_seconds: float | None = None
    broken: str | None = None
    """What is wrong with its markup, None for nothing."""


@dataclass(slots=True, kw_only=True)
class Gathering:
    """Makes a feed of what a parser finds. `address` is where it came from.

    Relative links are taken from the feed's own page, else from the top of its host: never from its address, whose path
    may be a secret.
    """

    version: str
    address: str
    title: str | None = None
    link: str | None = None
    _entries: dict[str, Entry] = field(default_factory=dict)

    def add(self, said: Said) -> None:
        """Add an entry; one whose id is there already is the same entry again. Raises NotAFeed beyond MOST_ENTRIES."""
        identity = identity_of(said)
        if identity in self._entries:
            return
        if len(self._entries) == MOST_ENTRIES:
            raise NotAFeed(f"it has more than {MOST_ENTRIES} entries")
        cut: list[str] = []
        data = {
            "id": identity,
            "title": _text(said.title, TITLE_CHARS, "title", cut),
            "link": self._url(said.link),
            "summary": _text(said.summary, SUMMARY_CHARS, "summary", cut),
            "content": _text(said.content, CONTENT_CHARS, "content", cut),
            "authors": _names(said.authors),
            "categories": _names(said.categories),
            "published": _shown(said.published),
            "updated": _shown(said.updated),
            "enclosures": [
                {"url": url, "type": _text(one.get("type"), NAME_CHARS), "length": _length(one.get("length"))}
                for one in list(said.enclosures)[:MOST_NAMES]
                if (url := self._url(one.get("url"))) is not None
            ],
            "feed": {"title": _text(self.title, TITLE_CHARS), "link": self._url(self.link)},
            "truncated": cut,
        }
        self._entries[identity] = Entry(id=identity, published=said.published, updated=said.updated, data=data)

    def feed(self, *, ttl_seconds: float | None = None, broken: str | None = None) -> Feed:
        """Return the feed with all that was added."""
        entries = tuple(self._entries.values())
        return Feed(version=self.version, entries=entries, ttl_seconds=ttl_seconds, broken=broken)

    def _url(self, text: object) -> str | None:
        url = _text(text, LINK_CHARS)
        if url is None:
            return None
        home = (self.link or "").strip()
        base = home if home.startswith(("http://", "https://")) else urljoin(self.address, "/")
        try:
            return urljoin(base, url)
        except ValueError:
            return url


def identity_of(said: Said) -> str:
    """Return what tells an entry from all others of its feed."""
    for text in (said.id, said.link):
        if text is not None and (found := _clean(text)):
            return found
    told = "\0".join(_clean(text or "") for text in (said.title, said.date, said.content or said.summary))
    return f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"


def oldest_first(entries: Iterable[Entry]) -> list[Entry]:
    """Return them by date where all have one, else in reverse: feeds begin with the newest."""
    turned = list(entries)[::-1]
    dates = [one.published or one.updated for one in turned]
    if None in dates:
        return turned
    order = sorted(range(len(turned)), key=dates.__getitem__)  # type: ignore[arg-type] # None is excluded
    return [turned[at] for at in order]


def _clean(text: str) -> str:
    """Without blanks around it, and without half surrogate pairs: entities such as `&#xD800;` make those."""
    return text.strip().encode(errors="replace").decode()


def _text(value: object, most: int, name: str = "", cut: list[str] | None = None) -> str | None:
    """Return a text, None for an empty one, cut to `most` characters; `cut` hears of that."""
    if not isinstance(value, str) or not (text := _clean(value)):
        return None
    if len(text) > most and cut is not None:
        cut.append(name)
    return text[:most]


def _names(values: Iterable[str]) -> list[str]:
    found = (_text(one, NAME_CHARS) for one in values)
    return list(dict.fromkeys(one for one in found if one is not None))[:MOST_NAMES]


def _length(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _shown(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
