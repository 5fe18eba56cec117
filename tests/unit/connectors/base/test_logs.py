"""What is logged of sources, and how often."""

import logging

import pytest

from connectors.base.logs import MOST_KINDS, Rarely, info, warn


def test_an_event_has_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    info("connected", source="a")
    warn("failed", source="b")

    assert [("connected", {"source": "a"}), ("failed", {"source": "b"})] == [
        (record.message, record.fields)  # type: ignore[attr-defined]
        for record in caplog.records
    ]


def test_what_happens_again_is_told_at_once_and_then_with_what_came_meanwhile() -> None:
    rarely = Rarely(60)

    assert [1, 0, 0] == [rarely.count("a", now) for now in (0, 1, 59)]
    assert rarely.count("b", 59) == 1
    assert rarely.count("a", 60) == 3
    assert rarely.count("a", 119) == 0


def test_what_is_never_the_same_takes_no_memory_for_ever() -> None:
    rarely = Rarely(60)
    assert all(rarely.count(str(number), 0) == 1 for number in range(3 * MOST_KINDS))
    assert len(rarely._told_at) <= MOST_KINDS + 1
