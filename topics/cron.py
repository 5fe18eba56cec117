"""Cron: at which instants a schedule is due. Serves workflows that have a schedule, and the cron connector.

Five fields, `minute hour day-of-month month day-of-week`, or six with seconds in front of them:

| field | values | names |
|---|---|---|
| second, minute | 0-59 | |
| hour | 0-23 | |
| day-of-month | 1-31 | |
| month | 1-12 | JAN-DEC |
| day-of-week | 0-7; 0 and 7 are Sunday | SUN-SAT |

A field is `*`, a value, a range `a-b`, one of these with a step (`*/15`, `8-18/2`; `5/15` goes on to the field's end),
or several of them with commas. Names are read in any case. `@yearly`, `@monthly`, `@weekly`, `@daily` and `@hourly`
stand for what they say. Where neither day-of-month nor day-of-week starts with `*`, a day that fits either of them is
due, else one that fits both (Vixie's rule).

Summer time, as Debian's cron has it. What has `*` at the start of minute or hour goes by the time that passes: a
skipped hour has no instants, a repeated one has them twice. Anything else is meant for a time of day: what falls into a
skipped hour is due once, when that is over (02:30 becomes 03:00), and in a repeated hour the first time alone counts.
"""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from topics.verdicts import HeadgateError

ALIASES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MAX_TEXT: Final = 500
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 the local time of any zone
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_LONGEST_REPEAT: Final = 25 * 3600
"""Seconds. No clock was ever put back by more than a day."""


class CronError(HeadgateError, ValueError):
    """A schedule that cannot be read. Says which field and value, why, and what a right one looks like."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A schedule as it was read. Made by `parse`."""

    text: str
    timezone: str
    zone: ZoneInfo
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    needs_both_days: bool
    by_elapsed_time: bool
    """See "summer time" above."""

    def next_after(self, at_ms: int) -> int:
        """Return the first instant after `at_ms`, a whole second. There always is one."""
        at = at_ms // 1000
        return 1000 * (self._next_elapsed(at) if self.by_elapsed_time else self._next_of_day(at))

    def latest(self, after_ms: int, until_ms: int) -> int | None:
        """Return the last instant after `after_ms` and not after `until_ms`, None when there is none.

        It takes some ten steps, however many instants lie between, and one when none does.
        """
        found = self.next_after(after_ms)
        if found > until_ms:
            return None
        high, back = until_ms, 64_000
        while (begin := until_ms - back) > found and self.next_after(begin) > until_ms:
            high, back = begin, 2 * back
        if begin > found:
            found = self.next_after(begin)
        low = found
        while high - low >= 1000:  # what is found is a whole second, and so is what comes after it
            candidate = self.next_after(middle := (low + high) // 2)
            if candidate <= until_ms:
                found = low = candidate
            else:
                high = middle
        return found

    def _next_of_day(self, at: int) -> int:
        local = self._local(at)
        while True:
            local = self._next_local(local + _SECOND)
            instant = self._instant(local, fold=0)
            if self._local(instant) != local:
                instant = self._change(self._instant(local, fold=1), instant)
            if instant > at:
                return instant

    def _next_elapsed(self, at: int) -> int:
        local = self._local(at)
        offset = self._offset(at)
        if self._offset(at + _LONGEST_REPEAT) < offset:
            change = self._change(at, at + _LONGEST_REPEAT)
            instant = _seconds(self._next_local(local + _SECOND)) - offset
            if instant < change:
                return instant
            at, local = change - 1, self._local(change) - _SECOND
        while True:
            local = self._next_local(local + _SECOND)
            first, second = self._instant(local, fold=0), self._instant(local, fold=1)
            if self._local(first) != local:  # it is skipped, and all that is skipped with it
                local = self._local(self._change(second, first)) - _SECOND
            elif first > at:
                return first
            elif second > at:
                return second

    def _local(self, instant: int) -> datetime:
        utc = (_EPOCH + timedelta(seconds=instant)).replace(tzinfo=UTC)
        return utc.astimezone(self.zone).replace(tzinfo=None, fold=0)

    def _offset(self, instant: int) -> int:
        return _seconds(self._local(instant)) - instant

    def _instant(self, local: datetime, *, fold: int) -> int:
        offset = local.replace(tzinfo=self.zone, fold=fold).utcoffset()
        assert offset is not None
        return _seconds(local - offset)

    def _change(self, before: int, after: int) -> int:
        """Return the first instant that has the offset of `after`; there is one change between the two."""
        offset = self._offset(after)
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(middle) == offset:
                after = middle
            else:
                before = middle
        return after

    def _next_local(self, local: datetime) -> datetime:
        """Return the first time from `local` on that fits, by the clock on the wall."""
        day = local.date()
        if self._fits(day):
            found = self._next_time(local)
            if found is not None:
                return datetime.combine(day, found)
        day += _DAY
        while not self._fits(day):
            day = _next_month(day) if day.month not in self.months else day + _DAY
        return datetime.combine(day, time(self.hours[0], self.minutes[0], self.seconds[0]))

    def _next_time(self, local: datetime) -> time | None:
        hours, minutes, seconds = self.hours, self.minutes, self.seconds
        hour, minute = local.hour, local.minute
        if hour in hours:
            if minute in minutes:
                at = bisect_left(seconds, local.second)
                if at < len(seconds):
                    return time(hour, minute, seconds[at])
            at = bisect_left(minutes, minute + 1)
            if at < len(minutes):
                return time(hour, minutes[at], seconds[0])
        at = bisect_left(hours, hour + 1)
        return time(hours[at], minutes[0], seconds[0]) if at < len(hours) else None

    def _fits(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        of_month = day.day in self.days
        of_week = day.isoweekday() % 7 in self.weekdays
        return of_month and of_week if self.needs_both_days else of_month or of_week


def _seconds(local: datetime) -> int:
    return (local - _EPOCH) // _SECOND


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        named = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.least} to {self.most}{named}"

    def read(self, text: str) -> set[int]:
        """Return the values that `text` names. Raises CronError."""
        found: set[int] = set()
        for item in text.split(","):
            found |= self._item(item, text)
        return found

    def _item(self, item: str, text: str) -> set[int]:
        base, slash, step_text = item.partition("/")
        first, dash, last = base.partition("-")
        if base == "*":
            low, high = self.least, self.most
        elif dash:
            low, high = self._value(first, text), self._value(last, text)
            if self.name == "day-of-week" and high == 0 < low:
                high = 7  # SAT-SUN
            if high < low:
                remedy = f"write two ranges, {first}-{self._last},{self._first}-{last}"
                raise self._wrong(text, f"the range {base!r} goes backwards", remedy)
        else:
            low = self._value(first, text)
            high = self.most if slash else low
        return set(range(low, high + 1, self._step(step_text, text) if slash else 1))

    @property
    def _first(self) -> str:
        return self.names[0] if self.names else str(self.least)

    @property
    def _last(self) -> str:
        return self.names[-1] if self.names else str(self.most)

    def _step(self, step_text: str, text: str) -> int:
        step = int(step_text) if step_text.isascii() and step_text.isdigit() and len(step_text) < 4 else 0
        most = self.most - self.least
        if not 1 <= step <= most:
            remedy = f"give a step from 1 to {most}; steps start anew with each {_ROUNDS[self.name]}"
            raise self._wrong(text, f"the step {step_text!r} is none", remedy)
        return step

    def _value(self, found: str, text: str) -> int:
        if found in self.names:
            return self.names.index(found) + (1 if self.name == "month" else 0)
        if found.isascii() and found.isdigit() and len(found) < 4 and self.least <= int(found) <= self.most:
            return int(found)
        what = f"{found!r} is no {self.name}" if found else "a value is missing"
        if found == "?":
            raise self._wrong(text, what, "write * for any day")
        if self.name.startswith("day") and (found.endswith(("L", "W")) or "#" in found):
            remedy = (
                "L, W and # are not supported: name the days, for example 28-31, and let the workflow look at the date"
            )
            raise self._wrong(text, what, remedy)
        near = get_close_matches(found, self.names, 1, 0.5)
        raise self._wrong(text, what, f"did you mean {near[0]}?" if near else f"there are {self.allowed}")

    def _wrong(self, text: str, problem: str, remedy: str) -> CronError:
        return CronError(f"the {self.name} is {text!r}: {problem}", remedy)


_ROUNDS: Final = {
    "second": "minute",
    "minute": "hour",
    "hour": "day",
    "day-of-month": "month",
    "month": "year",
    "day-of-week": "week",
}
_FIELDS: Final = (
    _Field(name="second", least=0, most=59),
    _Field(name="minute", least=0, most=59),
    _Field(name="hour", least=0, most=23),
    _Field(name="day-of-month", least=1, most=31),
    _Field(name="month", least=1, most=12, names=_MONTHS),
    _Field(name="day-of-week", least=0, most=7, names=_WEEKDAYS),
)
EXAMPLE: Final = "for example '0 9 * * MON-FRI', minute hour day-of-month month day-of-week"


@lru_cache(maxsize=1024)
def parse(text: str, timezone: str = "UTC") -> Cron:
    """Return the schedule in `text`, by the clocks of `timezone` (an IANA name). Raises CronError."""
    parts = _expanded(text).upper().split()
    if len(parts) == 5:
        parts = ["0", *parts]
    if len(parts) != 6:
        count = "1 field" if len(parts) == 1 else f"{len(parts)} fields"
        raise CronError(f"{text[:80]!r} has {count}", f"give five, or six with seconds in front, {EXAMPLE}")
    seconds, minutes, hours, days, months, weekdays = (
        field.read(part) for field, part in zip(_FIELDS, parts, strict=True)
    )
    made = Cron(
        text=text,
        timezone=timezone,
        zone=_zone(timezone),
        seconds=tuple(sorted(seconds)),
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(one % 7 for one in weekdays),
        needs_both_days=parts[3].startswith("*") or parts[5].startswith("*"),
        by_elapsed_time=parts[1].startswith("*") or parts[2].startswith("*"),
    )
    # Each date falls on each weekday within 400 years, so a schedule never fires only for want of the date.
    if made.needs_both_days and min(made.days) > max(_LONGEST[month - 1] for month in made.months):
        problem = f"{text!r} is never due: no month of {parts[4]!r} has a day-of-month of {parts[3]!r}"
        raise CronError(problem, "name a day that is there, for example 28 in February")
    return made


def _expanded(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise CronError(f"it has {len(text)} characters", f"at most {MAX_TEXT} are allowed, {EXAMPLE}")
    stripped = text.strip()
    if not stripped.startswith("@"):
        return stripped
    found = ALIASES.get(stripped.lower())
    if found is None:
        near = get_close_matches(stripped.lower(), ALIASES, 1, 0.6)
        remedy = f"did you mean {near[0]}?" if near else f"there are {', '.join(ALIASES)}; or five fields, {EXAMPLE}"
        raise CronError(f"there is no {stripped[:80]!r}", remedy)
    return found


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no name at all; a folder of zones
        near = get_close_matches(name, available_timezones(), 1, 0.6)
        remedy = f"did you mean {near[0]!r}?" if near else "give an IANA name, for example 'Europe/Berlin' or 'UTC'"
        raise CronError(f"there is no time zone {name[:80]!r}", remedy) from None
