"""Asks an HTTP API for one page: validators, budget, what a status means, and what in the answer are records."""

import hashlib
import json
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from connectors.base.contract import Answer, NotConnected, Refused, Site
from connectors.base.instance.events import bounded_id
from connectors.base.texts.templates import MISSING, at
from connectors.poll import budget, paging, times
from connectors.poll.config import ById, ByTimestamp, ByToken, Config, NumberedPages, Rest
from connectors.poll.progress import Page, Policy, Progress, Record, Tells, Value

MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_IN_THREAD_BYTES: Final = 256 * 1024
_MOST_ITEMS: Final = 100_000
_LARGEST: Final = 2**63
"""Numbers of JSON that everybody reads the same."""
_LATER: Final = frozenset({408, 425, 429})
_NO_PAGE: Final = frozenset({400, 404, 410, 422})
"""A page that was known yesterday may be none today: then the poll begins anew."""


class PageGone(Exception):
    """The page that comes next by the position is refused: it has expired."""


class RestPages:
    """The pages of an HTTP API."""

    def __init__(self, config: Config, options: Rest, site: Site) -> None:
        self._options, self._site = options, site
        self._headers = {name: secret.get_secret_value() for name, secret in options.headers.items()}
        self._where = urlsplit(options.url).hostname or ""
        self._budget = budget.of(*_account(options.url, self._headers))
        self.policy = _policy(config, options)

    def begin(self) -> Progress:
        """Return what is known before the first poll. Raises Refused for a start that cannot be read."""
        cursor = self._options.cursor
        if isinstance(cursor, ByToken):
            return Progress(tag=self.policy.tag, token=cursor.start)
        if not isinstance(cursor, ById | ByTimestamp) or cursor.start is None:
            return Progress(tag=self.policy.tag)
        start, problem = self._value(cursor.start)
        if start is None:
            raise Refused(f"{self._who()}: the start of the cursor cannot be read: {problem}", reason="options")
        if isinstance(cursor, ByTimestamp) and isinstance(start, int):
            return Progress(tag=self.policy.tag, cursor=start, floor=start - 1)
        return Progress(tag=self.policy.tag, cursor=start, floor=start)

    async def start(self) -> Progress | None:
        """Nothing is asked for before the first poll."""
        return None

    def fits(self, following: Any) -> bool:
        """Tell whether a page that comes next by the position can be asked for with these options."""
        return paging.fits(self._options, following)

    def now(self) -> Value | None:
        return times.micros(self._site.now()) if isinstance(self._options.cursor, ByTimestamp) else None

    async def page(self, progress: Progress) -> Page:
        """Ask. Raises NotConnected, Refused, PageGone."""
        url = paging.url_of(self._options, progress, self.policy.overlap)
        name = hashlib.blake2b(url.encode(errors="replace"), digest_size=8).hexdigest()
        headers = {"Accept": "application/json", **self._headers}
        if progress.next is None and progress.asked == name:
            headers |= {"If-None-Match": progress.etag} if progress.etag else {}
            headers |= {"If-Modified-Since": progress.last_modified} if progress.last_modified else {}
        rate = self._options.rate
        await self._budget.turn(
            self._site, requests=rate.requests if rate else None, per_seconds=rate.per if rate else 60.0
        )
        async with self._site.http.request(
            self._options.method, url, headers=headers, json=self._options.body
        ) as answer:
            self._heed(answer)
            if answer.status == 304 and progress.asked == name:
                return Page(
                    records=(),
                    unchanged=True,
                    asked=name,
                    etag=progress.etag,
                    last_modified=progress.last_modified,
                )
            if answer.status == 404 and progress.next is not None and isinstance(self._options.paging, NumberedPages):
                return Page(records=())  # some say so after the last page
            self._check(answer, is_resumed=progress.next is not None)
            found = None if answer.status == 204 else await self._json(await answer.body(MAX_BODY_BYTES))
            try:
                records = [self._record(one) for one in self._items(found)]
            except RecursionError as error:
                raise NotConnected(
                    f"{self._who()} answered with JSON that is nested too deep", reason="not_json"
                ) from error
            return Page(
                records=records,
                next=self._next(progress, answer, found, records),
                token=self._token(found),
                asked=name,
                etag=_validator(answer.headers.get("ETag")),
                last_modified=_validator(answer.headers.get("Last-Modified")),
            )

    async def close(self) -> None:
        """Nothing is open between pages."""

    # ---- the answer ------------------------------------------------------------------------------------------------

    def _heed(self, answer: Answer) -> None:
        """Leave the host alone, with all sources that share its budget, for as long as it says."""
        wait = budget.wait_of(answer.headers, self._site.now())
        if answer.status in (429, 503):
            wait = max(wait or 0.0, answer.retry_after() or 0.0)
        if wait:
            self._budget.block(self._site, wait)

    def _check(self, answer: Answer, *, is_resumed: bool) -> None:
        status = answer.status
        if 200 <= status < 300:
            return
        message = f"{self._who()} answered with HTTP {status}"
        if is_resumed and status in _NO_PAGE:
            raise PageGone(message)
        if status in (401, 403) and not (status == 403 and self._is_limit(answer)):
            raise Refused(f"{message}; check the credentials", reason="unauthorized")
        if 400 <= status < 500 and status not in _LATER and status != 403:
            raise Refused(f"{message}; check url, parameters and headers", reason=f"http_{status}")
        wait = answer.retry_after()
        if wait is None:
            wait = budget.wait_of(answer.headers, self._site.now())
        if wait is not None:
            wait = min(wait, budget.MOST_WAIT_SECONDS)
        raise NotConnected(message, reason=f"http_{status}", retry_after_seconds=wait)

    def _is_limit(self, answer: Answer) -> bool:
        """Some say 403 when there were too many requests (GitHub's primary and secondary limits)."""
        return answer.retry_after() is not None or budget.wait_of(answer.headers, self._site.now()) is not None

    async def _json(self, body: bytes) -> Any:
        try:
            if len(body) > _IN_THREAD_BYTES:
                return await self._site.in_thread(_parsed, body)
            return _parsed(body)
        except (ValueError, RecursionError) as error:
            raise NotConnected(f"{self._who()} answered with what is no JSON", reason="not_json") from error

    def _items(self, found: Any) -> list[Any]:
        path = self._options.items
        items = found if path is None else at(found, path)
        if path is not None and items is MISSING and found is not None:
            message = f"{self._who()} answered without {path}; check `items`, or what the answer says instead"
            raise NotConnected(message, reason="no_items")
        if items is None or items is MISSING:
            return []
        listed = items if isinstance(items, list) else [items]
        if len(listed) > _MOST_ITEMS:
            message = (
                f"{self._who()} answered with {len(listed)} records; {_MOST_ITEMS} are read, ask for fewer at once"
            )
            raise Refused(message, reason="too_many")
        return listed

    def _next(self, progress: Progress, answer: Answer, found: Any, records: list[Record]) -> Any:
        try:
            return paging.next_of(
                self._options, progress, asked=answer.url, headers=answer.headers, answer=found, records=records
            )
        except paging.Elsewhere as error:
            raise Refused(f"{self._who()}: {error}", reason="paging") from error

    def _token(self, found: Any) -> str | None:
        cursor = self._options.cursor
        return paging.token_of(found, cursor.field) if isinstance(cursor, ByToken) else None

    # ---- one record ------------------------------------------------------------------------------------------------

    def _record(self, item: Any) -> Record:
        """Read a record; one that cannot be read is known by its content."""
        content = _digest(item)
        value, problem = None, None
        if isinstance(self._options.cursor, ById | ByTimestamp):
            value, problem = self._value(at(item, self._options.cursor.field))
        if problem is None and self._options.id is None and not isinstance(self._options.cursor, ById):
            return Record(event_id=content, data=item, value=value)
        name: str | None = None
        if problem is None:
            name, problem = self._id(item)
        if problem is not None or name is None:
            return Record(event_id=content, data=item, problem=problem)
        version, problem = self._version(item, content)
        if problem is not None:
            return Record(event_id=content, data=item, problem=problem)
        return Record(event_id=name if version is None else f"{name}@{version}", data=item, key=name, value=value)

    def _id(self, item: Any) -> tuple[str | None, str | None]:
        field = self._options.id
        if field is None and isinstance(self._options.cursor, ById):
            field = self._options.cursor.field
        found = at(item, field or "")
        if isinstance(found, bool) or not isinstance(found, str | int | float) or found == "":
            return None, f"it has no text or number at {field}"
        return bounded_id(str(found)), None

    def _version(self, item: Any, content: str) -> tuple[str | None, str | None]:
        """Return what tells the versions of one record apart; None where it has one alone."""
        field = self._options.version
        if field is None and isinstance(self._options.cursor, ByTimestamp):
            field = self._options.cursor.field
        if field is None:
            return None if isinstance(self._options.cursor, ById) else content, None
        found = at(item, field)
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            return None, f"it has no text or number at {field}"
        return bounded_id(str(found)), None

    def _value(self, found: Any) -> tuple[Value | None, str | None]:
        """Return the value that orders a record, or why it has none."""
        cursor = self._options.cursor
        if isinstance(cursor, ByTimestamp):
            try:
                value = times.parse(found, cursor.format)
            except ValueError:
                value = _LARGEST
            if abs(value) < _LARGEST:
                return value, None
            return None, f"it has no time at {cursor.field}, written as {cursor.format}"
        assert isinstance(cursor, ById)
        if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20:
            found = int(found)
        if isinstance(found, int) and not isinstance(found, bool) and abs(found) < _LARGEST:
            return found, None
        if isinstance(found, str) and found and paging.is_plain(found):
            return found, None
        return None, f"it has no id at {cursor.field}"

    def _who(self) -> str:
        """Name the source and the host: more of the URL may be secret."""
        return f"source {self._site.instance_id!r}: {self._where}"


def _policy(config: Config, options: Rest) -> Policy:
    cursor, overlap, tells = options.cursor, 0, Tells.CONTENT
    if isinstance(cursor, ById):
        tells, overlap = Tells.VALUE, cursor.overlap
    elif isinstance(cursor, ByTimestamp):
        tells, overlap = Tells.VALUE, int(cursor.overlap * 1_000_000)
    elif isinstance(cursor, ByToken):
        tells = Tells.TOKEN
    field = getattr(cursor, "field", "")
    form = cursor.format if isinstance(cursor, ByTimestamp) else ""
    return Policy(
        tag=f"rest {cursor.by} {field} {form}".strip(),
        tells=tells,
        overlap=overlap,
        is_newest_first=options.newest_first,
        is_quiet_first=config.existing == "skip",
        is_time=isinstance(cursor, ByTimestamp),
    )


def _account(url: str, headers: dict[str, str]) -> tuple[str, str]:
    """Return host and a digest of the credentials: whose requests count together."""
    parts = urlsplit(url)
    secrets = [pair for pair in parse_qsl(parts.query) if paging.SECRET_NAME.search(pair[0])]
    said = json.dumps([parts.username, parts.password, sorted(headers.items()), secrets])
    digest = hashlib.blake2b(said.encode(errors="replace"), digest_size=16).hexdigest()
    return f"{parts.hostname}:{parts.port}", digest


def _parsed(body: bytes) -> Any:
    if not body.strip():
        return None
    return json.loads(body, parse_constant=_no_number)


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _digest(item: Any) -> str:
    said = json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(said.encode()).hexdigest()[:40]}"


def _validator(value: str | None) -> str | None:
    """Return an ETag or Last-Modified that can be sent back byte for byte."""
    if value is None or not value or len(value) > 1024 or not value.isascii() or not value.isprintable():
        return None
    return value
