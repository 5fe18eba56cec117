"""Ticks: once for each instant, whatever the clock, restarts and edits do."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import cron
from connectors.base.contract import Moved, Received
from tests.unit.connectors import schedules
from tests.unit.connectors.standing import Reading, StandIn, reading

NOON = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)


def source(site: StandIn, schedule: str, **options: Any) -> cron.Source:
    return cron.Source(cron.Config(schedule=schedule, **options), site)


async def ticks(read: Reading, count: int) -> list[str]:
    """The ids of the next events; positions that move meanwhile are stored."""
    return [(await read.event()).id for _ in range(count)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


async def stopped(site: StandIn, schedule: str, **options: Any) -> None:
    """Let a source begin and stop, so that a position is there."""
    async with reading(source(site, schedule, **options), site) as read:
        assert isinstance(await read.next(), Moved)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("1h", ["13:00:00.000", "14:00:00.000"]),
        ("PT1H", ["13:00:00.000", "14:00:00.000"]),
        ("90s", ["12:01:30.000", "12:03:00.000"]),
        ("1h30m", ["13:30:00.000", "15:00:00.000"]),
        ("1.5s", ["12:00:01.500", "12:00:03.000"]),
        ("*/20 * * * *", ["12:20:00.000", "12:40:00.000"]),
        ("*/20 * * * * *", ["12:00:20.000", "12:00:40.000"]),
        ("@hourly", ["13:00:00.000", "14:00:00.000"]),
        (" 5 12 * JUN mon ", ["12:05:00.000"]),
    ],
)
async def test_intervals_and_cron_are_due_at_instants_that_no_start_shifts(schedule: str, expected: list[str]) -> None:
    for seconds in (0.0, 0.4):
        site = StandIn(now=NOON + timedelta(seconds=seconds))
        async with reading(source(site, schedule), site) as read:
            assert await ticks(read, len(expected)) == [f"2026-06-01T{one}Z" for one in expected]


async def test_a_tick_is_its_instant() -> None:
    site = StandIn(now=NOON)
    async with reading(source(site, "1m"), site) as read:
        begun = await read.next()
        event = await read.next()

    digest = begun.position["schedule"]
    assert begun == Moved(position={"at": "2026-06-01T12:00:00.000Z", "schedule": digest})
    assert event == Received(
        id="2026-06-01T12:01:00.000Z",
        event_type="tick",
        data={"scheduledAt": "2026-06-01T12:01:00.000Z", "firedAt": "2026-06-01T12:01:00.000Z"},
        created_at=NOON + timedelta(minutes=1),
        position={"at": "2026-06-01T12:01:00.000Z", "schedule": digest},
    )
    assert site.connections == 1


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("30 2 * * *", "2026-03-07T12:00-05:00", ["2026-03-08T07:00:00.000Z", "2026-03-09T06:30:00.000Z"]),
        ("30 1 * * *", "2026-10-31T12:00-04:00", ["2026-11-01T05:30:00.000Z", "2026-11-02T06:30:00.000Z"]),
        (
            "*/30 1 * * *",
            "2026-10-31T12:00-04:00",
            ["2026-11-01T05:00:00.000Z", "2026-11-01T05:30:00.000Z", "2026-11-01T06:00:00.000Z"],
        ),
    ],
)
async def test_summer_time_is_that_of_the_time_zone(schedule: str, after: str, expected: list[str]) -> None:
    site = StandIn(now=at(after))
    async with reading(source(site, schedule, timezone="America/New_York"), site) as read:
        assert await ticks(read, len(expected)) == expected


def test_a_second_reader_of_cron_agrees_at_changes_of_the_clock() -> None:
    compared, differing = schedules.differences(60, seed=7)
    assert compared > 500
    assert differing == []


# ---- what was missed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "events", "missed"),
    [
        ({"misfire": "skip"}, [], 4),
        ({"misfire": "skip", "grace": "1h"}, ["13:40"], 3),
        ({"misfire": "once"}, ["13:40"], 3),
        ({}, ["13:40"], 3),
        ({"misfire": "once", "misfire_within": "6m"}, ["13:40"], 3),
        ({"misfire": "once", "misfire_within": "4m"}, [], 4),
        ({"misfire": "all"}, ["12:40", "13:00", "13:20", "13:40"], 0),
        ({"misfire": "all", "misfire_limit": 3}, ["13:00", "13:20", "13:40"], 1),
        ({"misfire": "all", "misfire_within": "45m"}, ["13:00", "13:20", "13:40"], 1),
    ],
)
async def test_a_restart_after_instants_that_were_missed(
    options: dict[str, Any], events: list[str], missed: int
) -> None:
    schedule = "*/20 * * * *"
    site = StandIn(now=NOON + timedelta(minutes=30))
    await stopped(site, schedule, **options)
    site.advance(75 * 60)  # 13:45
    async with reading(source(site, schedule, **options), site) as read:
        found = await ticks(read, len(events) + 1)

    assert found == [f"2026-06-01T{one}:00.000Z" for one in [*events, "14:00"]]
    assert site.notes["missed"] == missed


@pytest.mark.parametrize("misfire", ["skip", "once", "all"])
async def test_what_was_durable_before_a_restart_is_not_told_again(misfire: str) -> None:
    site = StandIn(now=NOON)
    async with reading(source(site, "1h", misfire=misfire), site) as read:
        before = await ticks(read, 3)
    async with reading(source(site, "1h", misfire=misfire), site) as read:
        after = await ticks(read, 2)

    assert [one[11:13] for one in before + after] == ["13", "14", "15", "16", "17"]


async def test_a_tick_that_did_not_become_durable_comes_again_with_the_same_id() -> None:
    site = StandIn(now=NOON)
    async with reading(source(site, "1h"), site) as read:
        await read.next()
        lost = await read.next(settle=False)
    site.advance(5)
    async with reading(source(site, "1h"), site) as read:
        again = await read.event()

    assert isinstance(lost, Received)
    assert again.id == lost.id == "2026-06-01T13:00:00.000Z"
    assert again.data["firedAt"] == "2026-06-01T13:00:05.000Z"


async def test_instants_that_were_skipped_stay_skipped() -> None:
    site = StandIn(now=NOON)
    await stopped(site, "1h", misfire="skip")
    site.advance(3 * 3600 + 60)
    async with reading(source(site, "1h", misfire="skip"), site) as read:
        moved = await read.next()

    assert isinstance(moved, Moved)
    assert moved.position["at"] == "2026-06-01T15:00:00.000Z"
    async with reading(source(site, "1h", misfire="all"), site) as read:
        assert await ticks(read, 1) == ["2026-06-01T16:00:00.000Z"]


async def test_while_it_runs_a_short_delay_loses_no_instant() -> None:
    for misfire in ("skip", "once", "all"):
        site = StandIn(now=NOON)
        async with reading(source(site, "1s", misfire=misfire), site) as read:
            await ticks(read, 1)
            site.advance(4.5)  # the broker took its time
            found = await ticks(read, 6)

        assert [one[17:19] for one in found] == ["02", "03", "04", "05", "06", "07"]
        assert site.notes["missed"] == 0


@pytest.mark.parametrize(
    ("misfire", "seconds", "missed"),
    [("skip", ["50", "00"], 4), ("once", ["50", "00"], 4), ("all", ["10", "20", "30", "40", "50", "00"], 0)],
)
async def test_while_it_runs_a_long_delay_is_a_misfire(misfire: str, seconds: list[str], missed: int) -> None:
    site = StandIn(now=NOON)
    async with reading(source(site, "10s", misfire=misfire), site) as read:
        await read.next()
        site.advance(59)  # the broker was away
        found = await ticks(read, len(seconds))

    assert [one[17:19] for one in found] == seconds
    assert site.notes["missed"] == missed


async def test_more_than_the_limit_is_told_and_millions_of_instants_take_no_time() -> None:
    site = StandIn(now=NOON)
    await stopped(site, "* * * * * *", misfire="all", misfire_limit=2)
    site.advance(300 * 86_400)
    async with reading(source(site, "* * * * * *", misfire="all", misfire_limit=2), site) as read:
        found = await ticks(read, 3)

    assert found == ["2027-03-28T11:59:59.000Z", "2027-03-28T12:00:00.000Z", "2027-03-28T12:00:01.000Z"]
    assert site.said == [
        (
            "cron_missed_too_many",
            {
                "first": "2026-06-01T12:00:01.000Z",
                "before": "2027-03-28T11:59:59.000Z",
                "count_at_least": cron.COUNTED,
            },
        )
    ]


# ---- edits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "options"), [("2h", {}), ("30 * * * *", {}), ("0 * * * *", {"timezone": "Asia/Kolkata"})]
)
async def test_an_edited_schedule_begins_anew(schedule: str, options: dict[str, Any]) -> None:
    site = StandIn(now=NOON)
    await stopped(site, "0 * * * *")
    site.advance(5 * 3600 + 60)
    async with reading(source(site, schedule, misfire="all", **options), site) as read:
        begun, event = await read.next(), await read.event()

    assert isinstance(begun, Moved)
    assert begun.position["at"] == "2026-06-01T17:01:00.000Z"
    assert event.id > "2026-06-01T17:01"


async def test_what_becomes_of_missed_instants_may_be_edited_without_losing_them() -> None:
    site = StandIn(now=NOON)
    await stopped(site, "0 * * * *")
    site.advance(2 * 3600 + 60)
    async with reading(source(site, "0 * * * *", misfire="all", jitter="5s"), site) as read:
        assert [one[11:13] for one in await ticks(read, 2)] == ["13", "14"]


@pytest.mark.parametrize("position", [7, "x", {"at": "2026-06-01T00:00:00Z"}, {"cursor": 1}, {"at": 5, "schedule": ""}])
async def test_a_position_of_another_kind_is_none(position: Any) -> None:
    site = StandIn(now=NOON, position=position)
    async with reading(source(site, "1h"), site) as read:
        assert isinstance(await read.next(), Moved)
        assert await ticks(read, 1) == ["2026-06-01T13:00:00.000Z"]


# ---- clocks ----------------------------------------------------------------------------------------------------------


async def test_the_clock_is_looked_at_every_half_minute() -> None:
    site = StandIn(now=NOON)
    async with reading(source(site, "100s"), site) as read:
        await ticks(read, 2)

    assert max(site.slept) == cron.SLICE_SECONDS
    assert sum(site.slept) == pytest.approx(200)


class Jumpy(StandIn):
    """A site whose clock jumps during a sleep."""

    def __init__(self, jumps: dict[int, float], **options: Any) -> None:
        super().__init__(**options)
        self.jumps = jumps

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self.advance(self.jumps.pop(len(self.slept), 0))


async def test_a_clock_that_is_put_back_repeats_nothing_and_is_told() -> None:
    site = Jumpy({130: -1800.0}, now=NOON)  # at 13:05
    async with reading(source(site, "10m"), site) as read:
        found = await ticks(read, 8)
        clock = site.now()

    assert [one[11:16] for one in found] == ["12:10", "12:20", "12:30", "12:40", "12:50", "13:00", "13:10", "13:20"]
    assert clock == NOON + timedelta(minutes=80)
    assert [event for event, _ in site.said] == ["cron_clock_was_put_back"]


async def test_a_clock_that_is_put_back_just_before_an_instant_waits_for_it() -> None:
    site = Jumpy({20: -59.0}, now=NOON)
    async with reading(source(site, "10m"), site) as read:
        event = await read.event()

    assert event.data == {"scheduledAt": "2026-06-01T12:10:00.000Z", "firedAt": "2026-06-01T12:10:00.000Z"}


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        ("skip", ["12:10", "14:20"]),
        ("once", ["12:10", "14:10", "14:20"]),
        ("all", ["12:10", *[f"{hour}:{minute}0" for hour in (12, 13) for minute in range(6)][2:], "14:00", "14:10"]),
    ],
)
async def test_a_clock_that_is_put_forward_misses_instants(misfire: str, expected: list[str]) -> None:
    site = Jumpy({30: 7200.0}, now=NOON)  # at 12:15, to 14:15
    async with reading(source(site, "10m", misfire=misfire), site) as read:
        found = await ticks(read, len(expected))

    assert [one[11:16] for one in found] == expected


# ---- jitter ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chance", "late"), [(0.0, "12:01:00.000"), (0.5, "12:01:15.000"), (0.999, "12:01:29.970")])
async def test_jitter_delays_the_event_and_not_its_instant(chance: float, late: str) -> None:
    site = StandIn(now=NOON)
    site.chance = chance
    async with reading(source(site, "1m", jitter="30s"), site) as read:
        event = await read.event()

    assert event.data == {"scheduledAt": "2026-06-01T12:01:00.000Z", "firedAt": f"2026-06-01T{late}Z"}


@pytest.mark.parametrize("misfire", ["skip", "once"])
async def test_jitter_never_passes_the_next_instant(misfire: str) -> None:
    site = StandIn(now=NOON)
    site.chance = 0.999_999
    async with reading(source(site, "1m", jitter="5m", misfire=misfire), site) as read:
        events = [await read.event() for _ in range(60)]

    assert [one.id[11:16] for one in events[:2] + events[-1:]] == ["12:01", "12:02", "13:00"]
    assert {(at(one.data["firedAt"]) - at(one.id)).total_seconds() for one in events} == {59.998}


async def test_a_restart_while_jitter_delays_an_event_is_no_misfire() -> None:
    site = StandIn(now=NOON)
    await stopped(site, "1h", misfire="skip", jitter="10m")
    site.advance(3600 + 5 * 60)
    async with reading(source(site, "1h", misfire="skip", jitter="10m"), site) as read:
        assert await ticks(read, 1) == ["2026-06-01T13:00:00.000Z"]


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "hourly"}, "'hourly' is no schedule: a duration is a number with a unit"),
        ({"schedule": "hourly"}, "or give five or six fields of cron, for example '0 9 * * MON-FRI'"),
        ({"schedule": "60"}, "'60' is no schedule"),
        ({"schedule": ""}, "'' is no schedule"),
        ({"schedule": "500ms"}, "'500ms' is no interval; give one from 1s to 366d"),
        ({"schedule": "400d"}, "'400d' is no interval"),
        ({"schedule": "1.0005s"}, "in whole milliseconds"),
        ({"schedule": "1d", "timezone": "Europe/Berlin"}, "so the time zone 'Europe/Berlin' means nothing for it"),
        ({"schedule": "61 * * * *"}, "'61' is no minute"),
        ({"schedule": "@hourli"}, "did you mean @hourly?"),
        ({"schedule": "0 0 30 2 *"}, "is never due"),
        ({"schedule": "@daily", "timezone": "Europe/Berln"}, "did you mean 'Europe/Berlin'?"),
        ({"schedule": "@daily", "misfire": "none"}, "Input should be 'skip', 'once' or 'all'"),
        ({"schedule": "@daily", "misfire_limit": 0}, "greater than or equal to 1"),
        ({"schedule": "@daily", "every": "1h"}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_mean_nothing_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        cron.Config(**options)

    assert message in str(raised.value)


def test_the_example_is_valid() -> None:
    assert cron.Config(**cron.EXAMPLE).read().next_after(0) > 0
