"""Where a request goes: its URL and headers made safe, and what redirects make of them. For `base.reach.http`."""

import re
from collections.abc import Mapping
from typing import Any, Final, Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from connectors.base.contract import NotConnected, Refused
from connectors.base.reach.egress import literal_address, plain_host

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})

_PERMANENT: Final = frozenset({301, 308})
_UNREADABLE: Final = (ValueError, IndexError)
"""What yarl raises for what is no URL; the second for `http://u@[]@`."""
_PUBLIC: Final = re.compile(
    r"accept(-[a-z]+)?|cache-control|pragma|user-agent|range|last-event-id|if-(none-match|modified-since|match|range)",
    re.IGNORECASE,
)
"""Headers that another origin gets as well. What others of a user's mean, nobody knows: they may be secrets."""
_OURS: Final = re.compile(
    r"connection|content-length|keep-alive|te|trailer|transfer-encoding|upgrade|sec-websocket-(accept|extensions|key|version)",
    re.IGNORECASE,
)
"""Headers that HTTP clients set by themselves: from a user they would split a request in two."""
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


def target_of(text: str, schemes: set[str]) -> URL:
    """Return a URL whose host is plain, and an address in its usual form. Raises Refused."""
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except _UNREADABLE as error:
        raise Refused("the URL cannot be read", reason="invalid_url") from error
    if url.scheme not in schemes or not host or not port:
        message = f"a URL here begins with {' or '.join(f'{scheme}://' for scheme in sorted(schemes))} and has a host"
        raise Refused(message, reason="invalid_url")
    plain = plain_host(host)
    literal = literal_address(plain)
    return url.with_host(plain if literal is None else str(literal))


def headers_of(headers: Mapping[str, str] | None) -> CIMultiDict[str]:
    """The headers of a request. Raises Refused for what would end a header or begin another."""
    for name, value in (headers or {}).items():
        if _HEADER_NAME.fullmatch(name) is None or _HEADER_VALUE.fullmatch(value) is None:
            raise Refused(f"the header {name[:50]!r} has characters that no header may have", reason="invalid_header")
        if _OURS.fullmatch(name):
            raise Refused(f"the header {name!r} is set by the client itself; leave it out", reason="invalid_header")
    return CIMultiDict(headers or {})


def without_credentials(url: URL, headers: CIMultiDict[str]) -> URL:
    """Move user and password of a URL into Authorization, where there is none."""
    if url.user is not None or url.password is not None:
        headers.setdefault("Authorization", aiohttp.encode_basic_auth(url.user or "", url.password or ""))
    return url.with_user(None)


def named(url: URL) -> str:
    """A URL as errors may show it: path and query can hold secrets."""
    return f"{url.host}:{url.port}"


class Going:
    """A request on its way through redirects."""

    def __init__(self, method: str, url: URL, headers: CIMultiDict[str], *, json: Any, data: bytes | None) -> None:
        self.method, self.url, self.headers, self.json, self.data = method, url, headers, json, data
        self.moved_to: str | None = None
        self._followed, self._only_permanent = 0, True

    @classmethod
    def begin(cls, method: str, url: str, headers: Mapping[str, str] | None, *, json: Any, data: bytes | None) -> Self:
        sent = headers_of(headers)
        target = without_credentials(target_of(url, {"http", "https"}), sent)
        return cls(method.upper(), target, sent, json=json, data=data)

    def where(self) -> str:
        return named(self.url)

    def redirect(self, status: int, location: str) -> None:
        """Go to where a redirect points. Raises Refused or NotConnected."""
        self._followed += 1
        if self._followed > MAX_REDIRECTS:
            message = f"{self.where()} redirects more than {MAX_REDIRECTS} times"
            raise NotConnected(message, reason="redirects")
        try:
            joined = str(self.url.join(URL(location)))
        except _UNREADABLE as error:
            message = f"{self.where()} redirects to what is no URL"
            raise Refused(message, reason="invalid_url") from error
        before, self.url = self.url, target_of(joined, {"http", "https"}).with_user(None)
        if status == 303 or (status in (301, 302) and self.method == "POST"):
            self.method = "HEAD" if self.method == "HEAD" else "GET"
            self.json = self.data = None
        if self.url.origin() != before.origin():
            self._leave(before)
        self._only_permanent = self._only_permanent and status in _PERMANENT
        if self._only_permanent:
            self.moved_to = str(self.url.with_fragment(None))

    def _leave(self, before: URL) -> None:
        """Another origin gets no secrets: no headers but those that are none for certain, and no body."""
        if self.json is not None or self.data is not None:
            message = f"{named(before)} redirects a request with a body to {self.where()}; ask there if that is right"
            raise Refused(message, reason="redirected")
        for name in list(self.headers):
            if _PUBLIC.fullmatch(name) is None:
                self.headers.popall(name, None)
