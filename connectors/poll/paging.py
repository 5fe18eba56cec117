"""Which page comes next, and what is asked for it: pure.

The next page is JSON in the position, so it is kept without what the options say already: a server repeats the query
in its links, keys and all, and positions lie in Kafka in clear.
"""

import re
from collections.abc import Mapping
from os.path import commonprefix
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from connectors.base.texts.templates import MISSING, at
from connectors.poll import times
from connectors.poll.config import (
    ById,
    ByTimestamp,
    ByToken,
    CursorPages,
    LinkPages,
    NumberedPages,
    OffsetPages,
    Rest,
    TokenPages,
    UrlPages,
)
from connectors.poll.progress import Progress, Record, Value, order

SECRET_NAME: Final = re.compile(r"auth|credential|key|passw|secret|session|sig|token", re.IGNORECASE)
_LINK: Final = re.compile(r"<([^>]*)>((?:\s*;\s*[^;,\"]+(?:\"[^\"]*\")?)*)")
_REL: Final = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))", re.IGNORECASE)

MOST_CHARS: Final = 8192
"""Of a link, a token, or an id that orders records."""

Pairs = list[tuple[str, str]]


class Elsewhere(Exception):
    """The next page is on another host, or nowhere."""


def url_of(options: Rest, progress: Progress, overlap: int) -> str:
    """Return what to ask now."""
    base = urlsplit(options.url)
    pairs = parse_qsl(base.query, keep_blank_values=True)
    cursor, following = options.cursor, progress.next
    if following is None or "url" not in following:
        since = progress.since(overlap)
        if following is not None and "from" in following:
            since = following["from"]
        if isinstance(cursor, ById | ByTimestamp) and cursor.parameter is not None and since is not None:
            pairs = _with(pairs, cursor.parameter, written(since, options))
        if isinstance(cursor, ByToken) and progress.token is not None:
            pairs = _with(pairs, cursor.parameter, progress.token)
    paging = options.paging
    match following:
        case {"url": {"path": [int(same), str(rest)], "kept": list(kept), "query": list(query)}}:
            pairs = [(name, value) for name, value in pairs if name in kept or SECRET_NAME.search(name)]
            pairs += [(name, value) for name, value in query]
            base = base._replace(path=base.path[:same] + rest)
        case {"token": str(token)} if isinstance(paging, TokenPages):
            pairs = _with(pairs, paging.parameter, token)
        case {"page": int(number)} if isinstance(paging, NumberedPages):
            pairs = _with(pairs, paging.parameter, str(number))
        case {"offset": int(number)} if isinstance(paging, OffsetPages):
            pairs = _with(pairs, paging.parameter, str(number))
        case None if isinstance(paging, NumberedPages):
            pairs = _with(pairs, paging.parameter, str(paging.first))
    if pairs == parse_qsl(base.query, keep_blank_values=True):
        return urlunsplit(base)
    return urlunsplit(base._replace(query=urlencode(pairs)))


def next_of(
    options: Rest, progress: Progress, *, asked: str, headers: Mapping[str, str], answer: Any, records: list[Record]
) -> Any:
    """Return what leads to the page after this one, None when it was the last. Raises Elsewhere."""
    paging = options.paging
    match paging:
        case LinkPages():
            link = next_link(headers.get("Link", ""))
            return None if link is None else {"url": stored(link, asked=asked, configured=options.url)}
        case UrlPages():
            link = at(answer, paging.field)
            if link is MISSING or link is None or link == "":
                return None
            if not isinstance(link, str):
                raise Elsewhere(f"{paging.field} is no URL")
            return {"url": stored(link, asked=asked, configured=options.url)}
        case TokenPages():
            token = token_of(answer, paging.field)
            return None if token is None else {"token": token}
        case NumberedPages():
            number = progress.next["page"] if progress.next else paging.first
            return {"page": number + 1} if records else None
        case OffsetPages():
            offset = progress.next["offset"] if progress.next else 0
            return {"offset": offset + len(records)} if records else None
        case CursorPages():
            return _after(records, progress.next)
    if isinstance(options.cursor, ByToken):
        token = token_of(answer, options.cursor.field)
        return {"more": True} if records and token not in (None, progress.token) else None
    return None


def fits(options: Rest, following: Any) -> bool:
    """Tell whether a position's next page is one of this way of paging: it may have been edited since."""
    kinds = {"link": "url", "url": "url", "token": "token", "page": "page", "offset": "offset", "cursor": "from"}
    expected = "more" if isinstance(options.cursor, ByToken) else kinds.get(options.paging.by)
    return isinstance(following, dict) and list(following) == [expected]


def token_of(answer: Any, field: str) -> str | None:
    """Return the token that an answer has; None without one that can be sent back."""
    token = at(answer, field)
    if isinstance(token, int) and not isinstance(token, bool):
        return str(token)
    return token if isinstance(token, str) and token and is_plain(token) else None


def is_plain(text: str) -> bool:
    """Tell whether a text can be sent and stored: JSON may have halves of characters, and texts of any length."""
    return len(text) <= MOST_CHARS and not any("\ud800" <= sign <= "\udfff" for sign in text)


def written(since: Value, options: Rest) -> str:
    """Write a value as the server reads it."""
    if isinstance(options.cursor, ByTimestamp) and isinstance(since, int):
        return times.text(since, options.cursor.format)
    return str(since)


def next_link(header: str) -> str | None:
    """Return the target of rel=next in a header Link (RFC 8288)."""
    for target, parameters in _LINK.findall(header[:16_384]):
        for quoted, plain in _REL.findall(parameters):
            if "next" in (quoted or plain).lower().split():
                return str(target)
    return None


def stored(link: str, *, asked: str, configured: str) -> dict[str, Any]:
    """Return what a link says beyond the configured URL. Raises Elsewhere for another origin."""
    if not is_plain(link):
        raise Elsewhere("the next page has no readable URL")
    try:
        there, here = urlsplit(urljoin(_plain(asked), link.strip())), urlsplit(_plain(configured))
        if _origin(there) != _origin(here):
            raise Elsewhere("the next page is on another host; ask there, or use another way of paging")
        known = parse_qsl(here.query, keep_blank_values=True)
        new = parse_qsl(there.query, keep_blank_values=True)
    except ValueError as error:
        raise Elsewhere("the next page has no readable URL") from error
    given = {name for name, _ in known}
    own = [[name, value] for name, value in new if (name, value) not in known and not _is_given_secret(name, given)]
    kept = sorted({name for name, value in new if (name, value) in known})
    same = len(commonprefix([here.path, there.path]))  # noqa: RUF071 characters are meant
    return {"path": [same, there.path[same:]], "kept": kept, "query": own}


def _after(records: list[Record], asked: Any) -> Any:
    values = [record.value for record in records if record.value is not None]
    if not values:
        return None
    last = max(values, key=order)
    return None if asked is not None and asked.get("from") == last else {"from": last}


def _plain(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment=""))


def _origin(parts: Any) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _with(pairs: Pairs, name: str, value: str) -> Pairs:
    return [*((one, text) for one, text in pairs if one != name), (name, value)]


def _is_given_secret(name: str, given: set[str]) -> bool:
    return name in given and SECRET_NAME.search(name) is not None
