"""How far a poll has read: pure, and the position of a source as JSON.

With a cursor, a record is new when its value is not below the cursor less the overlap, and it is none of the recent
ones: equal values at a boundary, and those that come late, are told apart by id. Without, it is new when it was not in
the last complete poll. The cursor moves when all pages of a poll are read; until then the position says which page is
next, so a failure in the middle costs nothing, whatever the order of the records.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

FORMAT: Final = 1
DIGEST_BYTES: Final = 12
MOST_RECENT: Final = 10_000
"""Recent records that are kept with their values; of more, the smallest values are forgotten, and may be repeated."""
MOST_KNOWN: Final = 50_000
"""Records that can be compared without a cursor."""
KEPT_ABSENT: Final = 1_000
"""Records that are remembered although the last poll had them not: answers come from caches that disagree."""

Value = int | str
"""By what records are ordered: ids, microseconds since 1970, texts."""


class TooMany(Exception):
    """There are more records than can be compared without a cursor."""


class Tells(Enum):
    """What tells new records from known ones."""

    CONTENT = "content"
    """What was not there before, as a whole, is new."""
    VALUE = "value"
    """Records have values that only grow."""
    TOKEN = "token"
    """The server answers with what is new after its token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a page. `value` orders it, None without a cursor; a `problem` says that it is no event."""

    event_id: str
    data: Any
    key: str | None = None
    value: Value | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one request or query brought. `next` is JSON that leads to the next page; None after the last."""

    records: Sequence[Record]
    next: Any = None
    token: str | None = None
    """The server's own cursor after this page."""
    unchanged: bool = False
    """The server says that nothing has changed (304)."""
    asked: str | None = None
    """Names what was asked, for the validators."""
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How records are told apart."""

    tag: str
    """Names what the position means; a position with another one is void."""
    tells: Tells
    overlap: int = 0
    """In the unit of values."""
    is_time: bool = False
    """Values are microseconds since 1970."""
    is_newest_first: bool = False
    is_quiet_first: bool = False
    """The first poll makes no events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is known between two pages."""

    tag: str
    cursor: Value | None = None
    """Everything up to here was read; what is above may have been."""
    high: Value | None = None
    """The largest value of the poll that is under way."""
    floor: Value | None = None
    """Nothing up to here is ever new."""
    token: str | None = None
    recent: tuple[tuple[Value, bytes], ...] = ()
    known: tuple[bytes, ...] = ()
    """Digests of the records without values: of the last complete poll first, then some that were there before."""
    present: tuple[bytes, ...] = ()
    """The same of the poll that is under way."""
    next: Any = None
    """The page to go on with; None when a poll is to begin."""
    is_first: bool = True
    """No poll was complete yet."""
    asked: str | None = None
    etag: str | None = None
    last_modified: str | None = None

    def since(self, overlap: int) -> Value | None:
        """Return the value from which on a poll reads; None for the beginning."""
        return self.cursor - overlap if isinstance(self.cursor, int) else self.cursor

    def position(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "format": FORMAT,
            "tag": self.tag,
            "cursor": self.cursor,
            "high": self.high,
            "floor": self.floor,
            "token": self.token,
            "recent": [[value, base64.b64encode(mark).decode()] for value, mark in self.recent],
            "known": base64.b64encode(b"".join(self.known)).decode(),
            "present": base64.b64encode(b"".join(self.present)).decode(),
            "next": self.next,
            "first": self.is_first,
            "asked": self.asked,
            "etag": self.etag,
            "last_modified": self.last_modified,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a page comes to."""

    progress: Progress
    new: Sequence[Record]
    future: int = 0
    """Records from the future: they are events, and do not move the cursor."""
    forgotten: int = 0
    """Recent records that could not be kept."""


def order(value: Value) -> tuple[bool, Value]:
    """Sort by this: numbers come before texts."""
    return isinstance(value, str), value


def mark_of(event_id: str) -> bytes:
    return hashlib.blake2b(event_id.encode(errors="surrogatepass"), digest_size=DIGEST_BYTES).digest()


def take(progress: Progress, page: Page, policy: Policy, *, now: Value | None = None) -> Taken:
    """Read a page. `now` is the value beyond which records are from the future. Raises TooMany."""
    is_whole = progress.next is None and page.next is None
    if page.unchanged:
        return Taken(progress=_complete(replace(progress, present=progress.known), policy), new=())
    counted = _Counted(progress, policy, now)
    new = [record for record in page.records if counted.is_new(record)]
    after = counted.after()
    is_last = page.next is None or (policy.is_newest_first and counted.old == len(page.records) > 0)
    after = replace(after, token=page.token or progress.token, next=None if is_last else page.next)
    if is_last:
        after = replace(
            _complete(after, policy),
            asked=page.asked if is_whole else None,
            etag=page.etag if is_whole else None,
            last_modified=page.last_modified if is_whole else None,
        )
    excess = len(after.recent) - MOST_RECENT
    if excess > 0:
        after = replace(after, recent=tuple(sorted(after.recent, key=lambda one: order(one[0]))[excess:]))
    is_quiet = progress.is_first and policy.is_quiet_first
    return Taken(
        progress=after,
        new=() if is_quiet else new,
        future=counted.future,
        forgotten=max(0, excess) if is_last else 0,
    )


class _Counted:
    """The records of one page, one after the other."""

    def __init__(self, progress: Progress, policy: Policy, now: Value | None) -> None:
        self._progress, self._policy, self._now = progress, policy, now
        self._since = progress.since(policy.overlap)
        self._seen = {mark for _, mark in progress.recent}.union(progress.known, progress.present)
        self._recent: list[tuple[Value, bytes]] = []
        self._present = dict.fromkeys(progress.present)
        self._high = progress.high
        self.future = self.old = 0

    def is_new(self, record: Record) -> bool:
        mark = mark_of(record.event_id)
        is_new = mark not in self._seen
        if self._policy.tells is Tells.TOKEN:
            return True
        if self._policy.tells is Tells.VALUE and record.value is not None:
            if self._is_old(record.value):
                self.old += 1
                return False
            if is_new:
                self._recent.append((record.value, mark))
            if self._now is not None and order(record.value) > order(self._now):
                self.future += is_new
            elif self._high is None or order(record.value) > order(self._high):
                self._high = record.value
        else:
            self._present[mark] = None
            if len(self._present) > MOST_KNOWN:
                raise TooMany
        self._seen.add(mark)
        return is_new

    def after(self) -> Progress:
        recent = (*self._progress.recent, *self._recent)
        return replace(self._progress, high=self._high, recent=recent, present=tuple(self._present))

    def _is_old(self, value: Value) -> bool:
        floor = self._progress.floor
        if floor is not None and order(value) <= order(floor):
            return True
        return self._since is not None and order(value) < order(self._since)


def read(position: Any, policy: Policy) -> Progress | None:
    """Return what a position says; None when it belongs to another cursor. Raises ValueError for none of ours."""
    try:
        if position["format"] != FORMAT:
            raise ValueError("it is of another format")
        if position["tag"] != policy.tag:
            return None
        return Progress(
            tag=policy.tag,
            cursor=position["cursor"],
            high=position["high"],
            floor=position["floor"],
            token=position["token"],
            recent=tuple((value, base64.b64decode(mark, validate=True)) for value, mark in position["recent"]),
            known=_marks(position["known"]),
            present=_marks(position["present"]),
            next=position["next"],
            is_first=position["first"],
            asked=position["asked"],
            etag=position["etag"],
            last_modified=position["last_modified"],
        )
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError("it has not the fields of a poll's position") from error


def _marks(text: str) -> tuple[bytes, ...]:
    raw = base64.b64decode(text, validate=True)
    return tuple(raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))


def _complete(progress: Progress, policy: Policy) -> Progress:
    """All pages are read: the cursor moves, and what is behind it is left."""
    ends = [one for one in (progress.cursor, progress.high) if one is not None]
    after = replace(
        progress, cursor=max(ends, key=order, default=None), high=None, present=(), next=None, is_first=False
    )
    since = after.since(policy.overlap)
    recent = tuple(one for one in after.recent if since is None or order(one[0]) >= order(since))
    there = set(progress.present)
    absent = [mark for mark in progress.known if mark not in there][:KEPT_ABSENT]
    return replace(after, recent=recent, known=(*progress.present, *absent))
