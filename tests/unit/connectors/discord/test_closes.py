"""The table of close codes."""

import pytest

from connectors.discord.closes import CLOSES, KEEPING, Then, meaning


@pytest.mark.parametrize("code", [4000, 4001, 4002, 4003, 4005, 4008])
def test_a_fault_of_a_connection_keeps_the_session(code: int) -> None:
    assert meaning(code).then is Then.RESUME


@pytest.mark.parametrize("code", [4007, 4009])
def test_a_session_that_is_over_is_followed_by_a_new_one(code: int) -> None:
    assert meaning(code).then is Then.IDENTIFY


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
def test_what_somebody_has_to_mend_stops_the_source_and_says_how(code: int) -> None:
    assert meaning(code).then is Then.STOP
    assert meaning(code).remedy != ""


def test_only_what_stops_a_source_has_a_remedy() -> None:
    assert [code for code, one in CLOSES.items() if bool(one.remedy) != (one.then is Then.STOP)] == []


@pytest.mark.parametrize("code", [None, 1000, 1001, 1006, 1011, 1012, 4006, 4015, 4999])
def test_any_other_end_is_answered_with_a_resumption(code: int | None) -> None:
    assert meaning(code).then is Then.RESUME


def test_our_own_code_keeps_the_session() -> None:
    assert KEEPING not in (1000, 1001)
    assert meaning(KEEPING).then is Then.RESUME
