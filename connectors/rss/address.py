"""Where a feed has moved to for good (301, 308), in a form that may be stored.

A URL may hold secrets in its user, path or query, and positions lie in Kafka in clear. So what is stored of a new
address is only what the configured one does not say already: pieces of it are references into that one. User and
password are never part of it, and an address that brings long texts of its own in the query, as signed ones do, is not
stored at all: it is learnt again by asking the configured one.
"""

import hashlib
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

_SHORTEST: Final = 4
"""Characters that are worth a reference: fewer of a secret say nothing."""
_LONGEST_OWN: Final = 7
"""Characters of its own that a new address may bring as a name or value of its query."""
_MOST_CHARS: Final = 4096

Piece = str | list[int]
"""Text, or where in the configured URL it begins and how long it is; JSON."""


def plain(url: str) -> str:
    """Return a URL without user, password and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


def tag(configured: str) -> str:
    """Name a configured URL, to notice an edit: 32 bits, made without user and password, tell nobody what it is."""
    return hashlib.blake2b(plain(configured).encode(errors="replace"), digest_size=4).hexdigest()


def stored(moved: str, configured: str) -> list[Piece] | None:
    """Return the new address as it may be stored, None where it may not."""
    known, new = plain(configured), plain(moved)
    if len(new) > _MOST_CHARS or urlsplit(moved).username is not None:
        return None
    query_at = new.find("?")
    pieces: list[Piece] = []
    at = own = 0
    while at < len(new):
        start, length = _longest(new, at, known)
        if length >= _SHORTEST:
            pieces.append([start, length])
            at, own = at + length, 0
            continue
        own = 0 if new[at] in "?&=" else own + 1
        if own > _LONGEST_OWN and 0 <= query_at < at:
            return None
        before = pieces.pop() if pieces and isinstance(pieces[-1], str) else ""
        pieces.append(f"{before}{new[at]}")
        at += 1
    return pieces


def read(value: Any, configured: str) -> str | None:
    """Return the address that `stored` made this of, None where it is nothing of that kind."""
    known = plain(configured)
    text = ""
    if not isinstance(value, list):
        return None
    for piece in value:
        match piece:
            case str():
                text += piece
            case [int(start), int(length)] if start >= 0 and 0 < length <= len(known) - start:
                text += known[start : start + length]
            case _:
                return None
    return text if text.startswith(("http://", "https://")) and len(text) <= _MOST_CHARS else None


def with_user(moved: str, configured: str) -> str:
    """Return the new address with the user and password of the configured one, where the origin is the same."""
    new = urlsplit(moved)
    user, at, host = urlsplit(configured).netloc.rpartition("@")
    if not at or not same_origin(moved, configured):
        return moved
    return urlunsplit(new._replace(netloc=f"{user}@{host}"))


def same_origin(one: str, other: str) -> bool:
    """Whether two URLs lead to one server: scheme, host and port are written alike."""
    first, second = urlsplit(plain(one)), urlsplit(plain(other))
    return (first.scheme, first.netloc.lower()) == (second.scheme, second.netloc.lower())


def _longest(new: str, at: int, known: str) -> tuple[int, int]:
    """Return where the longest piece of `known` begins that `new` has at `at`, and its length."""
    start, length = -1, 0
    while at + length < len(new) and (found := known.find(new[at : at + length + 1], max(start, 0))) >= 0:
        start, length = found, length + 1
    return start, length
