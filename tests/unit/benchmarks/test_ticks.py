"""What is made of ticks: how late they were, and which did not come or came twice."""

import json

from benchmarks.ticks import Ticks

BEGIN_MS = 1_767_225_600_000


def tick(second: int) -> bytes:
    return json.dumps({"id": "x", "data": {"scheduledAt": f"2026-01-01T00:00:{second:02}Z"}}).encode()


def test_ticks_of_all_sources_in_the_span_are_accounted_for() -> None:
    ticks = Ticks(sources=2, begin_ms=BEGIN_MS, seconds=2)

    ticks.take([(b"a", tick(0)), (b"b", tick(0)), (b"a", tick(2))], (BEGIN_MS + 5) * 1_000_000)
    was_whole = ticks.is_whole
    ticks.take([(b"a", tick(1)), (b"a", tick(1))], (BEGIN_MS + 1_020) * 1_000_000)
    assert (ticks.summary()["lost"], ticks.summary()["doubled"], ticks.summary()["max_ms"]) == (1, 1, 20.0)

    ticks.take([(b"b", tick(1))], (BEGIN_MS + 1_030) * 1_000_000)
    assert (was_whole, ticks.is_whole) == (False, True)
    assert (ticks.summary()["lost"], ticks.summary()["p50_ms"]) == (0, 20.0)
