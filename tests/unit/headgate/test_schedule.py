"""A schedule is read when its code is there, and passed on unread where it is not."""

import pytest

from headgate.schedule import CatchUp, Schedule
from topics.cron import CronError, parse


def test_a_schedule_is_read_by_its_zone_and_catches_up_once_unless_told() -> None:
    schedule = Schedule(cron="0 9 * * *", timezone="Asia/Tokyo")

    assert schedule.read() is parse("0 9 * * *", "Asia/Tokyo")
    assert schedule.catch_up is CatchUp.ONCE


def test_one_that_this_release_cannot_read_is_a_value_all_the_same() -> None:
    schedule = Schedule(cron="0 0 LW * *")

    with pytest.raises(CronError, match="'LW' is no day-of-month; L, W and # are not supported"):
        schedule.read()
