"""Schedules, durations and timestamps."""

from typing import Final

from connectors import cron as cron_source
from connectors.base.texts.durations import parse as duration
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import AT_MS, Target, named
from topics import cron
from topics.timestamps import milliseconds

SCHEDULES: Final = (
    *(
        "0 9 * * MON-FRI",
        "*/15 * * * *",
        "0 30 2 29 2 *",
        "5/15 8-18/2 1,15 JAN-MAR 0-7",
        "@daily",
        "@yearly",
        "0 0 31 2 *",
    ),
    *("1h", "90s", "1h30m", "PT1H30M", "P1W", "0.5s", "367d", "2 d"),
)
CRON_WORDS: Final = (
    *(
        "*",
        "/",
        "-",
        ",",
        " ",
        "0",
        "7",
        "59",
        "60",
        "99999999999",
        "MON",
        "jan",
        "L",
        "W",
        "#",
        "?",
        "*/0",
        "5-1",
        "@",
        "@x",
    ),
    *("\u0663", "\u017f", "İ", "\t", "\u3000", "-1", "1-2-3", "//", ",,", "²", "P", "T", "ms", "w", "1e3", "."),
)
ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/El_Aaiun")
INSTANTS: Final = (0, AT_MS, 1_774_748_000_000, 1_792_890_000_000, -1, 999, 4_102_444_800_000)


def schedule(draw: Mutator) -> tuple[str, str, int]:
    zone = draw.pick(ZONES) if draw.happens(0.9) else draw.text(ZONES, ("..", "/", "\x00", "posix", "+1", "ü"))
    return draw.text(SCHEDULES, CRON_WORDS), zone, draw.pick(INSTANTS)


def check_schedule(given: tuple[str, str, int]) -> str:
    text, zone, at_ms = given
    try:
        found = cron.parse(text, zone)
    except cron.CronError as error:
        word = named(error)
    else:
        instant = found.next_after(at_ms)
        assert instant > at_ms
        assert instant % 1000 == 0
        latest = found.latest(at_ms, instant + 3_600_000)
        assert latest is not None
        assert instant <= latest <= instant + 3_600_000
        word = "cron"
    try:
        config = cron_source.Config.model_validate({"schedule": text, "timezone": zone})
    except ValueError:
        return word
    assert config.read().next_after(at_ms) > at_ms
    return word if word == "cron" else "interval"


def check_duration(given: str) -> str:
    try:
        seconds = duration(given)
    except ValueError as error:
        return named(error)
    assert 0 <= seconds < 10**20
    return "duration"


def lasting(draw: Mutator) -> str:
    return draw.text(SCHEDULES[7:], CRON_WORDS)


TIMES: Final = (
    *(
        "2026-06-01T12:00:00Z",
        "2026-06-01t12:00:00.123456789z",
        "1969-12-31T23:59:60+00:00",
        "0001-01-01T00:00:00+23:59",
    ),
    *("9999-12-31T23:59:60Z", "2026-02-29T00:00:00Z", "2026-06-01 12:00:00Z"),
)


def time(draw: Mutator) -> str:
    return draw.text(TIMES)


def check_time(given: str) -> str:
    try:
        return "past" if milliseconds(given) < AT_MS else "future"
    except ValueError as error:
        return named(error)


TARGETS: Final = (
    Target(name="cron", make=schedule, check=check_schedule),
    Target(name="durations", make=lasting, check=check_duration),
    Target(name="timestamps", make=time, check=check_time),
)
