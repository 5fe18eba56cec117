"""When cron text is due: by hand for what is delicate, against cronsim for the many."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from topics.cron import ALIASES, Cron, CronError, parse

NEW_YORK, BERLIN, LORD_HOWE = "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def following(text: str, zone: str, after: str, count: int) -> list[str]:
    """The next instants by the clock of the zone, with its offset."""
    cron, at, found = parse(text, zone), ms(after), []
    for _ in range(count):
        at = cron.next_after(at)
        found.append(datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).isoformat()[5:])
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", ["01-31T12:01:00", "01-31T12:02:00"]),
        ("* * * * * *", ["01-31T12:00:11", "01-31T12:00:12"]),
        ("*/20 * * * * *", ["01-31T12:00:20", "01-31T12:00:40", "01-31T12:01:00"]),
        ("5/20 * * * *", ["01-31T12:05:00", "01-31T12:25:00", "01-31T12:45:00", "01-31T13:05:00"]),
        ("0 9 * * MON-FRI", ["02-02T09:00:00", "02-03T09:00:00"]),
        ("0 9 * * sat,sun", ["02-01T09:00:00", "02-07T09:00:00"]),
        ("0 9 * * SAT-SUN", ["02-01T09:00:00", "02-07T09:00:00"]),
        ("0 9 * * 7", ["02-01T09:00:00", "02-08T09:00:00"]),
        ("0 0 29 feb *", ["02-29T00:00:00"]),
        ("30 8-18/5 * JAN-MAR/2 *", ["01-31T13:30:00", "01-31T18:30:00", "03-01T08:30:00"]),
        ("0 0 13 * FRI", ["02-06T00:00:00", "02-13T00:00:00", "02-20T00:00:00", "02-27T00:00:00", "03-06T00:00:00"]),
        ("0 0 */13 * FRI", ["02-27T00:00:00", "03-27T00:00:00", "05-01T00:00:00"]),
        ("0 0 30 2 MON", ["02-02T00:00:00", "02-09T00:00:00"]),
        ("0 0 31 * *", ["03-31T00:00:00", "05-31T00:00:00"]),
        ("@hourly", ["01-31T13:00:00", "01-31T14:00:00"]),
        ("@Daily", ["02-01T00:00:00", "02-02T00:00:00"]),
        ("@weekly", ["02-01T00:00:00", "02-08T00:00:00"]),
        ("@monthly", ["02-01T00:00:00", "03-01T00:00:00"]),
        ("@yearly", ["01-01T00:00:00"]),
    ],
)
def test_fields_names_ranges_steps_and_aliases(text: str, expected: list[str]) -> None:
    found = following(text, "UTC", "2026-01-31T12:00:10.999+00:00", len(expected))

    assert found == [one + "+00:00" for one in expected]


@pytest.mark.parametrize(
    ("text", "zone", "after", "expected"),
    [
        # Clocks go forward: what is skipped is due once, when the skipped hour is over.
        ("30 2 * * *", NEW_YORK, "2026-03-07T02:30-05:00", ["03-08T03:00:00-04:00", "03-09T02:30:00-04:00"]),
        ("0 3 * * *", NEW_YORK, "2026-03-07T03:00-05:00", ["03-08T03:00:00-04:00", "03-09T03:00:00-04:00"]),
        ("15,45 2,3 * * *", NEW_YORK, "2026-03-08T01:59-05:00", ["03-08T03:00:00-04:00", "03-08T03:15:00-04:00"]),
        ("0 30 2 * * *", BERLIN, "2026-03-28T02:30+01:00", ["03-29T03:00:00+02:00", "03-30T02:30:00+02:00"]),
        ("15 2 * * *", LORD_HOWE, "2026-10-03T02:15+10:30", ["10-04T02:30:00+11:00", "10-05T02:15:00+11:00"]),
        ("30 0 * * *", "America/Havana", "2026-03-07T00:30-05:00", ["03-08T01:00:00-04:00", "03-09T00:30:00-04:00"]),
        ("30 0 * * *", "Asia/Beirut", "2026-03-28T00:30+02:00", ["03-29T01:00:00+03:00", "03-30T00:30:00+03:00"]),
        ("0 0 * * *", "America/Sao_Paulo", "2017-10-14T00:00-03:00", ["10-15T01:00:00-02:00", "10-16T00:00:00-02:00"]),
        # What goes by elapsed time has nothing there.
        ("* 0 * * 7", "America/Havana", "2026-03-07T23:29-05:00", ["03-15T00:00:00-04:00"]),
        ("* 0 28 * *", "Asia/Beirut", "2010-03-09T06:46+02:00", ["04-28T00:00:00+03:00"]),
        ("* 0 * * 7", "America/Sao_Paulo", "2010-10-12T13:49-03:00", ["10-24T00:00:00-02:00"]),
        ("*/30 * * * *", NEW_YORK, "2026-03-08T01:20-05:00", ["03-08T01:30:00-05:00", "03-08T03:00:00-04:00"]),
        ("30 * * * *", NEW_YORK, "2026-03-08T01:20-05:00", ["03-08T01:30:00-05:00", "03-08T03:30:00-04:00"]),
        ("* 2 * * *", NEW_YORK, "2026-03-07T02:59-05:00", ["03-09T02:00:00-04:00"]),
        # Clocks go back: a time of day counts the first time.
        ("30 1 * * *", NEW_YORK, "2026-10-31T01:30-04:00", ["11-01T01:30:00-04:00", "11-02T01:30:00-05:00"]),
        ("30 1 * * *", NEW_YORK, "2026-11-01T01:10-05:00", ["11-02T01:30:00-05:00"]),
        ("30 2 * * *", BERLIN, "2026-10-24T02:30+02:00", ["10-25T02:30:00+02:00", "10-26T02:30:00+01:00"]),
        ("45 1 * * *", LORD_HOWE, "2026-04-04T01:45+11:00", ["04-05T01:45:00+11:00", "04-06T01:45:00+10:30"]),
        ("5 23 * * *", "Asia/Beirut", "2010-10-30T23:04+03:00", ["10-30T23:05:00+03:00", "10-31T23:05:00+02:00"]),
        ("5 23 * * *", "Asia/Beirut", "2010-10-30T23:04+02:00", ["10-31T23:05:00+02:00"]),
        ("30 0 * * *", "America/Havana", "2026-11-01T00:10-04:00", ["11-01T00:30:00-04:00", "11-02T00:30:00-05:00"]),
        # And what goes by elapsed time is due in both.
        (
            "*/30 * * * *",
            NEW_YORK,
            "2026-11-01T00:45-04:00",
            ["11-01T01:00:00-04:00", "11-01T01:30:00-04:00", "11-01T01:00:00-05:00", "11-01T01:30:00-05:00"],
        ),
        (
            "*/30 1 * * *",
            NEW_YORK,
            "2026-11-01T01:10-04:00",
            ["11-01T01:30:00-04:00", "11-01T01:00:00-05:00", "11-01T01:30:00-05:00", "11-02T01:00:00-05:00"],
        ),
        (
            "*/15 * * * *",
            LORD_HOWE,
            "2026-04-05T01:40+11:00",
            ["04-05T01:45:00+11:00", "04-05T01:30:00+10:30", "04-05T01:45:00+10:30", "04-05T02:00:00+10:30"],
        ),
        (
            "*/30 23 * * *",
            "Asia/Beirut",
            "2010-10-30T22:59+03:00",
            ["10-30T23:00:00+03:00", "10-30T23:30:00+03:00", "10-30T23:00:00+02:00", "10-30T23:30:00+02:00"],
        ),
        ("0 12 * * *", "Asia/Kolkata", "2026-06-01T12:00+05:30", ["06-02T12:00:00+05:30"]),
    ],
)
def test_summer_time(text: str, zone: str, after: str, expected: list[str]) -> None:
    assert following(text, zone, after, len(expected)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' has 0 fields; give five, or six with seconds in front, for example '0 9 * * MON-FRI', minute hour"),
        ("daily", "'daily' has 1 field; give five"),
        ("* * * * * * *", "'* * * * * * *' has 7 fields; give five"),
        ("* " * 300, "it has 600 characters; at most 500 are allowed"),
        ("60 * * * *", "the minute is '60': '60' is no minute; there are 0 to 59"),
        ("* * 0 * *", "the day-of-month is '0': '0' is no day-of-month; there are 1 to 31"),
        ("* * * JUNE *", "the month is 'JUNE': 'JUNE' is no month; did you mean JUN?"),
        ("* * * 13 *", "the month is '13': '13' is no month; there are 1 to 12, or JAN to DEC"),
        ("* * * * 8", "the day-of-week is '8': '8' is no day-of-week; there are 0 to 7, or SUN to SAT"),
        ("1,,2 * * * *", "the minute is '1,,2': a value is missing; there are 0 to 59"),
        ("1- * * * *", "the minute is '1-': a value is missing"),
        ("-1 * * * *", "the minute is '-1': a value is missing"),
        ("\u0661 * * * *", "the minute is '\u0661': '\u0661' is no minute"),
        ("* 22-4 * * *", "the hour is '22-4': the range '22-4' goes backwards; write two ranges, 22-23,0-4"),
        ("* * * * FRI-MON", "the range 'FRI-MON' goes backwards; write two ranges, FRI-SAT,SUN-MON"),
        ("*/0 * * * *", "the minute is '*/0': the step '0' is none; give a step from 1 to 59"),
        ("*/90 * * * *", "the step '90' is none; give a step from 1 to 59; steps start anew with each hour"),
        ("*/x * * * *", "the step 'X' is none"),
        ("* * ? * *", "the day-of-month is '?': '?' is no day-of-month; write * for any day"),
        ("* * L * *", "'L' is no day-of-month; L, W and # are not supported: name the days, for example 28-31"),
        ("* * * * MON#2", "'MON#2' is no day-of-week; L, W and # are not supported"),
        ("@dayly", "there is no '@dayly'; did you mean @daily?"),
        ("@reboot", "there is no '@reboot'; there are @yearly, @annually,"),
        (
            "0 0 30 2 *",
            "'0 0 30 2 *' is never due: no month of '2' has a day-of-month of '30'; name a day that is there",
        ),
        ("0 0 31 4,6,9,11 */2", "is never due: no month of '4,6,9,11' has a day-of-month of '31'"),
    ],
)
def test_what_cannot_be_read_is_told_with_field_value_and_remedy(text: str, message: str) -> None:
    with pytest.raises(CronError) as raised:
        parse(text)

    assert message in str(raised.value)
    assert str(raised.value) == f"{raised.value.problem}; {raised.value.remedy}"


@pytest.mark.parametrize(
    ("zone", "remedy"),
    [
        ("Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("", "give an IANA name"),
        ("America", ""),
        ("../etc/passwd", "give an IANA name"),
        ("/etc/localtime", ""),
        ("x\0y", "give an IANA name"),
    ],
)
def test_a_zone_that_is_none_is_told(zone: str, remedy: str) -> None:
    with pytest.raises(CronError, match="there is no time zone") as raised:
        parse("@daily", zone)

    assert remedy in raised.value.remedy


def test_a_rare_day_is_found_however_far_away_it_is() -> None:
    # The 29th of February on a Sunday, by both: 2032, then 2060, 2088, and over 2100, which has none, 2128.
    found = following("0 0 29 2 */7", "UTC", "2028-03-01T00:00+00:00", 3)
    last = parse("0 0 29 2 */7").next_after(ms("2088-03-01T00:00+00:00"))

    assert found == ["02-29T00:00:00+00:00"] * 3
    assert datetime.fromtimestamp(last / 1000, UTC).year == 2128


@pytest.mark.parametrize(
    ("text", "after", "until", "expected"),
    [
        ("@daily", "2026-01-01T00:00+00:00", "2026-01-01T23:59:59+00:00", None),
        ("@daily", "2026-01-01T00:00+00:00", "2026-01-02T00:00+00:00", "2026-01-02T00:00+00:00"),
        ("@daily", "2026-01-01T00:00+00:00", "2026-01-02T00:00:30+00:00", "2026-01-02T00:00+00:00"),
        ("@daily", "2026-01-01T00:00+00:00", "2027-01-01T23:59+00:00", "2027-01-01T00:00+00:00"),
        ("* * * * * *", "2016-01-01T00:00+00:00", "2026-01-01T00:00:00.500+00:00", "2026-01-01T00:00+00:00"),
        ("* * 9 * * *", "2026-01-01T00:00+00:00", "2026-03-01T08:00+00:00", "2026-02-28T09:59:59+00:00"),
        ("* * * * * *", "2026-01-01T00:00+00:00", "2026-01-01T00:00:01.999+00:00", "2026-01-01T00:00:01+00:00"),
        ("* * * * * *", "2026-01-01T00:00+00:00", "2026-01-01T00:00:02+00:00", "2026-01-01T00:00:02+00:00"),
    ],
)
def test_the_latest_of_those_that_passed(text: str, after: str, until: str, expected: str | None) -> None:
    assert parse(text).latest(ms(after), ms(until)) == (None if expected is None else ms(expected))


def test_the_latest_is_looked_for_no_further_when_the_schedule_is_on_time(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, next_after = list[int](), Cron.next_after

    def counted(cron: Cron, at_ms: int) -> int:
        steps.append(at_ms)
        return next_after(cron, at_ms)

    monkeypatch.setattr(Cron, "next_after", counted)
    assert parse("* * * * * *").latest(9_000, 10_040) == 10_000
    assert steps == [9_000]


def field(least: int, most: int) -> st.SearchStrategy[str]:
    value = st.integers(least, most).map(str)
    # Not a-a/n: cronsim takes it for a/n.
    span = st.lists(st.integers(least, most), min_size=2, max_size=2, unique=True).map(
        lambda two: "-".join(map(str, sorted(two)))
    )
    stepped = st.tuples(st.one_of(st.just("*"), span, value), st.integers(1, most - least)).map(
        lambda two: f"{two[0]}/{two[1]}"
    )
    one = st.one_of(st.just("*"), value, span, stepped)
    # cronsim takes a star among others for no star at all; nobody writes that
    return st.one_of(one, one, st.lists(st.one_of(value, span), min_size=2, max_size=3).map(",".join))


FIVE = st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7)).map(" ".join)
# cronsim is wrong where clocks change by half an hour, and where midnight itself is skipped or comes twice: of an hour
# that is not there it makes the next one ("* 0 * * *" at 01:00), and it goes back into one that was. The table above
# has the answers for such zones, of which there is none here; the other tests have them.
OTHERS = st.sampled_from(["UTC", NEW_YORK, BERLIN, "Asia/Kolkata", "Africa/Casablanca"])
ZONES = st.one_of(
    OTHERS, st.sampled_from(["America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Australia/Lord_Howe"])
)
# Near changes of the clock in both halves of the year, and anywhere.
INSTANTS = st.one_of(
    st.integers(ms("2026-03-05T00:00+00:00"), ms("2026-04-06T00:00+00:00")),
    st.integers(ms("2026-10-20T00:00+00:00"), ms("2026-11-03T00:00+00:00")),
    st.integers(ms("2000-01-01T00:00+00:00"), ms("2050-01-01T00:00+00:00")),
)


@settings(max_examples=150, deadline=None)
@given(FIVE, OTHERS, INSTANTS)
def test_it_is_due_when_another_reader_of_cron_says_so(text: str, zone: str, at: int) -> None:
    try:
        cron = parse(text, zone)
    except CronError as error:
        assert "is never due" in str(error)  # noqa: PT017 anything else that was drawn is readable
        return
    # Both count in seconds; it begins with the second after the one that it was given.
    other = CronSim(text, datetime.fromtimestamp(at // 1000, UTC).astimezone(ZoneInfo(zone)))
    for _ in range(20):
        at = cron.next_after(at)
        assert datetime.fromtimestamp(at // 1000, UTC) == next(other).astimezone(UTC)


@settings(max_examples=50, deadline=None)
@given(st.tuples(field(0, 59), FIVE).map(" ".join), INSTANTS)
def test_seconds_stand_in_front(text: str, at: int) -> None:
    try:
        cron = parse(text)
    except CronError:
        return
    other = CronSim(text, datetime.fromtimestamp(at // 1000, UTC))
    for _ in range(20):
        at = cron.next_after(at)
        assert datetime.fromtimestamp(at // 1000, UTC) == next(other)


@settings(max_examples=50, deadline=None)
@given(FIVE, ZONES, INSTANTS, st.integers(0, 40 * 86_400_000))
def test_the_latest_is_what_counting_on_comes_to(text: str, zone: str, after: int, span: int) -> None:
    try:
        cron = parse(text, zone)
    except CronError:
        return
    passed: list[int] = []
    at = after
    while (at := cron.next_after(at)) <= after + span and len(passed) < 2_000:
        passed.append(at)

    assert all(one < other for one, other in pairwise([after, *passed]))
    until = after + span if at > after + span else at - 1
    assert cron.latest(after, until) == (passed[-1] if passed else None)


@given(st.one_of(st.text(max_size=40), st.text("0123456789*/,-@ MONJAF", max_size=20)), st.text(max_size=12))
def test_nothing_escapes_but_the_word_that_says_why(text: str, zone: str) -> None:
    for given_zone in (zone, "UTC"):
        try:
            cron = parse(text, given_zone)
        except CronError:
            continue
        assert cron.next_after(0) > 0


def test_every_alias_is_what_it_stands_for() -> None:
    for name, text in ALIASES.items():
        assert parse(name).next_after(0) == parse(text).next_after(0)
