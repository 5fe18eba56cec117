"""Ticks by the clock: a cron expression or an interval, which mean what they mean as the schedule of a workflow.

An event has the instant for which it was scheduled as its id, so an instant is one event however often it is told. The
position is the last instant that is durable, and the next one is looked for from there: neither restarts nor the time
that something takes shift anything. Instants that passed while nobody looked are missed; `misfire` says what becomes of
them. A schedule that is edited begins anew, from now on.
"""

import hashlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from pydantic import model_validator

from connectors.base import contract
from connectors.base.contract import Delivery, Item, Moved, Received
from connectors.base.options import Field, Options, Seconds
from connectors.base.texts import durations
from topics import cron
from topics.timestamps import milliseconds, rfc3339

EXAMPLE: Final[dict[str, Any]] = {"schedule": "0 9 * * MON-FRI", "timezone": "Europe/Berlin"}
DELIVERY: Final = Delivery.EXACTLY_ONCE
EMITS: Final = """\
`tick`: `{scheduledAt, firedAt}`, the instant for which it was scheduled and the one at which it was told."""

SLICE_SECONDS: Final = 30.0
"""The clock is looked at again at least this often: it may have been put forward or back meanwhile."""
AHEAD_MS: Final = 60_000
"""A position that is so far ahead of the clock is told: until then nothing is due."""
COUNTED: Final = 1_000
"""Missed instants are counted up to here: a schedule by the second has millions of them in a month."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Schedule(Protocol):
    """When something is due, in milliseconds since 1970."""

    def next_after(self, at_ms: int) -> int:
        """Return the first instant after `at_ms`."""
        ...

    def latest(self, after_ms: int, until_ms: int) -> int | None:
        """Return the last instant after the one and not after the other, None when there is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Every so many milliseconds, counted from 1970 in UTC: `1h` is due at each full hour."""

    every_ms: int

    def next_after(self, at_ms: int) -> int:
        return (at_ms // self.every_ms + 1) * self.every_ms

    def latest(self, after_ms: int, until_ms: int) -> int | None:
        found = until_ms // self.every_ms * self.every_ms
        return found if found > after_ms else None


def schedule_of(text: str, timezone: str) -> Schedule:
    """Read a schedule. Raises ValueError with what is accepted."""
    if text.strip()[:1] in {"@", "*"} or len(text.split()) > 1:
        return cron.parse(text, timezone)
    try:
        seconds = durations.parse(text)
    except ValueError as error:
        problem = f"{text[:80]!r} is no schedule: {error}"
        raise ValueError(f"{problem}; or give five or six fields of cron, {cron.EXAMPLE}") from None
    if not 1 <= seconds <= 366 * 86_400 or (every_ms := round(seconds * 1000)) != seconds * 1000:
        raise ValueError(f"{text[:80]!r} is no interval; give one from 1s to 366d, in whole milliseconds")
    if timezone != "UTC":
        raise ValueError(
            f"{text[:80]!r} counts from 1970 in UTC, so the time zone {timezone[:80]!r} means nothing for it; "
            "leave the time zone out, or write cron such as '@daily'"
        )
    return Interval(every_ms=every_ms)


class Misfire(StrEnum):
    """What becomes of missed instants: those that passed while no process ran, or while the clock was put forward."""

    SKIP = "skip"
    """Nothing."""
    ONCE = "once"
    """The latest of them is an event, however many there are."""
    ALL = "all"
    """Each of them is an event, the latest `misfire_limit` at most."""


class Config(Options):
    """The options of a `cron` source."""

    schedule: str = Field(
        max_length=cron.MAX_TEXT,
        description="When it is due: an interval (`90s`, `1h30m`, `PT1H`), counted from 1970 in UTC; or cron of five "
        "fields, or six with seconds in front, with names (`MON-FRI`, `JAN`); or `@hourly`, `@daily`, `@weekly`, "
        "`@monthly`, `@yearly`.",
    )
    timezone: str = Field(
        default="UTC",
        max_length=100,
        description="Whose clocks cron goes by, as an IANA name (`Europe/Berlin`). Summer time is kept as Debian's "
        "cron does: a time that is skipped is due once, after it; one that is repeated counts the first time.",
    )
    misfire: Misfire = Field(
        default=Misfire.ONCE,
        description="What becomes of instants that were missed: `skip`: nothing; `once`: the latest is an event; "
        "`all`: each of them is one.",
    )
    misfire_limit: int = Field(
        default=1000, ge=1, le=100_000, description="With `all`: so many of the missed instants at most, the latest."
    )
    misfire_within: Seconds | None = Field(
        default=None, description="With `once` and `all`: those that are older are dropped. None: no limit."
    )
    grace: Seconds = Field(
        default=10.0,
        description="An instant that is late by this at most is not missed while the source runs; with `skip` neither "
        "is the latest one when it starts, as when it moves to another process.",
    )
    jitter: Seconds | None = Field(
        default=None,
        description="Each event comes later by a random part of this, but before the next instant, so that not "
        "everything starts at once. None: no jitter.",
    )

    @model_validator(mode="after")
    def _is_read(self) -> "Config":
        self.read()
        return self

    def read(self) -> Schedule:
        """Return what answers when it is due."""
        return schedule_of(self.schedule, self.timezone)


class Source:
    """Exactly once: an instant has one id, and the position follows the instants that are durable."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config, self._site = config, site
        self._schedule = config.read()
        named = f"{config.schedule.strip()}\n{config.timezone}"
        self._digest = hashlib.blake2b(named.encode(), digest_size=8).hexdigest()

    async def read(self) -> AsyncIterator[Item]:
        """Yield a tick for each instant, for ever."""
        site = self._site
        last_ms = self._stored()
        site.connected()
        if last_ms is None:
            last_ms = self._now_ms()
            yield Moved(position=self._position(last_ms))
        awake = False
        while True:
            due_ms = self._schedule.next_after(last_ms)
            if due_ms > self._now_ms():
                awake = True
                await self._until(due_ms + int(self._jitter_ms(due_ms) * site.random()), last_ms)
            latest_ms = self._schedule.latest(last_ms, self._now_ms())
            if latest_ms is None:
                continue  # the clock was put back
            events = self._events(last_ms, latest_ms, awake=awake)
            for instant_ms in events:
                yield self._tick(instant_ms)
            if not events:
                yield Moved(position=self._position(latest_ms))
            last_ms, awake = latest_ms, True

    async def _until(self, at_ms: int, last_ms: int) -> None:
        said = False
        while (left_ms := at_ms - (now_ms := self._now_ms())) > 0:
            if last_ms - now_ms > AHEAD_MS and not said:
                self._site.say("cron_clock_was_put_back", position=rfc3339(last_ms), now=rfc3339(now_ms))
                said = True
            await self._site.sleep(min(left_ms / 1000, SLICE_SECONDS))

    def _now_ms(self) -> int:
        return (self._site.now() - _EPOCH) // timedelta(milliseconds=1)

    def _jitter_ms(self, due_ms: int) -> int:
        """Return by how much the instant may come later: never beyond the one after it."""
        if self._config.jitter is None:
            return 0
        return min(int(self._config.jitter * 1000), self._schedule.next_after(due_ms) - due_ms - 1)

    def _events(self, last_ms: int, latest_ms: int, *, awake: bool) -> deque[int]:
        """Return which instants after the one and up to the other, which is one, are events; count those missed.

        `awake` says that nothing but this source was late.
        """
        config, now_ms = self._config, self._now_ms()
        after_ms = now_ms - int(config.grace * 1000) - self._jitter_ms(latest_ms) - 1
        if not awake:
            after_ms = max(after_ms, latest_ms - 1)
        if config.misfire is Misfire.ONCE:
            after_ms = min(after_ms, latest_ms - 1)
        elif config.misfire is Misfire.ALL:
            after_ms = last_ms
        if config.misfire_within is not None and config.misfire is not Misfire.SKIP:
            after_ms = max(after_ms, now_ms - int(config.misfire_within * 1000) - 1)
        found = _latest(self._schedule, max(last_ms, after_ms), latest_ms, config.misfire_limit)
        self._tell_missed(last_ms, found[0] if found else latest_ms + 1)
        return found

    def _tell_missed(self, last_ms: int, before_ms: int) -> None:
        first_ms = self._schedule.next_after(last_ms)
        if first_ms >= before_ms:
            return
        count = _count(self._schedule, last_ms, before_ms)
        self._site.note("missed", count)
        if self._config.misfire is Misfire.ALL:
            self._site.say(
                "cron_missed_too_many", first=rfc3339(first_ms), before=rfc3339(before_ms), count_at_least=count
            )

    def _tick(self, instant_ms: int) -> Received:
        instant = rfc3339(instant_ms)
        return Received(
            id=instant,
            event_type="tick",
            data={"scheduledAt": instant, "firedAt": rfc3339(self._now_ms())},
            created_at=_EPOCH + timedelta(milliseconds=instant_ms),
            position=self._position(instant_ms),
        )

    def _position(self, at_ms: int) -> dict[str, str]:
        return {"at": rfc3339(at_ms), "schedule": self._digest}

    def _stored(self) -> int | None:
        """Return the last instant that is durable; None without one, or for another schedule."""
        match self._site.position:
            case {"at": str(at), "schedule": digest} if digest == self._digest:
                return milliseconds(at)
        return None


def _latest(schedule: Schedule, after_ms: int, until_ms: int, most: int) -> deque[int]:
    """Return the latest instants in a span: looked for in parts of it that double, since there may be millions."""
    back_ms = most * 1000
    while True:
        begin_ms = max(after_ms, until_ms - back_ms)
        found: deque[int] = deque(maxlen=most)
        at_ms = begin_ms
        while (at_ms := schedule.next_after(at_ms)) <= until_ms:
            found.append(at_ms)
        if len(found) == most or begin_ms == after_ms:
            return found
        back_ms *= 2


def _count(schedule: Schedule, after_ms: int, before_ms: int) -> int:
    count = 0
    while count < COUNTED and (after_ms := schedule.next_after(after_ms)) < before_ms:
        count += 1
    return count
