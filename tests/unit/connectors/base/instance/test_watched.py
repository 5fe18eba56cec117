"""How one source is, as its status and its metrics say."""

from dataclasses import replace

import orjson
import pytest
from prometheus_client import generate_latest

from connectors.base.contract import Item, Moved, Received, Unreadable
from connectors.base.instance.buffer import Read
from connectors.base.instance.watched import SHOWN_POSITION_CHARS, Watched
from connectors.base.metrics import MOST_LABELS, SourceMetrics
from topics.sources import Problem, Spec, State, status_told


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock) -> tuple[Watched, SourceMetrics]:
    metrics = SourceMetrics()
    watched = Watched(Spec(id="s", kind="rss"), owner="me", delivery="exactly-once", metrics=metrics, clock=clock)
    return watched, metrics


def test_a_life_is_told_from_start_to_failure() -> None:
    clock = Clock()
    watched, metrics = made(clock)
    watched.starting("e1")
    clock.now = 1_002.0
    watched.connected()
    watched.heard(50)
    clock.now = 1_005.0
    watched.published([Read(item=Received(id="1", event_type="t", data=1), at=0.0, at_ms=0)], 1, 0)
    watched.at_position({"n": 1})
    clock.now = 1_010.0
    watched.disconnected()
    watched.backing_off("closed", "it closed", 1, 4.0)

    status = watched.status
    assert (State.BACKING_OFF, 1_010_000, "e1", "me") == (status.state, status.since_ms, status.epoch, status.owner)
    assert (1_002_000, 1_005_000, 1_002_000) == (
        status.connected_at_ms,
        status.last_event_at_ms,
        status.last_byte_at_ms,
    )
    assert (1, 1, 1_014_000, '{"n":1}') == (
        status.events_received,
        status.reconnect_attempts,
        status.next_retry_at_ms,
        status.position,
    )
    assert watched.lived_seconds() == 8.0
    value = metrics.registry.get_sample_value
    assert value("triggers_reconnects_total", {"provider": "rss", "reason": "closed"}) == 1
    assert value("triggers_connection_seconds_total", {"provider": "rss"}) == 8
    assert value("triggers_events_received_total", {"provider": "rss"}) == 1
    assert value("triggers_received_bytes_total", {"provider": "rss"}) == 50
    assert value("triggers_source_connected", {"provider": "rss", "instance": "s"}) == 0


def test_with_a_new_connection_nothing_is_wrong_and_what_was_wrong_last_still_shows() -> None:
    clock = Clock()
    watched, _ = made(clock)
    watched.failed("odd", "it is odd", None)
    clock.now = 1_001.0
    watched.backing_off("closed", "it closed", 3, 4.0)
    last = Problem(kind="transient", reason="closed", message="it closed", at_ms=1_001_000)
    assert (last, last) == (watched.status.error, watched.status.last_error)
    clock.now = 1_005.0
    watched.connected()

    status = watched.status
    assert (None, last) == (status.error, status.last_error)
    assert (0, None) == (status.reconnect_attempts, status.next_retry_at_ms)
    shown = orjson.loads(status_told(status).value or b"")
    assert (None, "it closed", "1970-01-01T00:16:41.000Z") == (
        shown["error"],
        shown["last_error"]["message"],
        shown["last_error"]["at"],
    )


def test_a_position_of_before_is_no_move_of_it() -> None:
    clock = Clock()
    watched, metrics = made(clock)
    clock.now += 60
    watched.stands_at({"n": 5})
    watched.measure(0)

    assert watched.status.position == '{"n":5}'
    labels = {"provider": "rss", "instance": "s"}
    assert metrics.registry.get_sample_value("triggers_position_age_seconds", labels) == 60


def test_positions_alone_are_no_events() -> None:
    watched, _ = made(Clock())
    watched.published([Read(item=Moved(position=1), at=0.0, at_ms=0)], 0, 0)

    assert (0, None) == (watched.status.events_received, watched.status.last_event_at_ms)


def test_the_same_state_again_is_no_change_of_its_time() -> None:
    clock = Clock()
    watched, _ = made(clock)
    watched.enter(State.PAUSED)
    clock.now += 50
    watched.enter(State.PAUSED)

    assert watched.status.since_ms == 1_000_000


def test_what_is_shown_of_a_position_and_an_error_is_bounded() -> None:
    watched, _ = made(Clock())
    watched.at_position("x" * 10_000)
    watched.failed("odd", "y" * 10_000, None)

    assert watched.status.position is not None
    assert len(watched.status.position) == SHOWN_POSITION_CHARS + 3
    assert watched.status.error is not None
    assert len(watched.status.error.message) == 500


def test_a_source_that_moved_away_leaves_no_series_behind() -> None:
    watched, metrics = made(Clock())
    watched.connected()
    watched.measure(5)
    watched.forget()
    watched.forget()

    assert metrics.registry.get_sample_value("triggers_source_connected", {"provider": "rss", "instance": "s"}) is None


def test_counts_tell_whether_there_is_something_to_tell() -> None:
    watched, _ = made(Clock())
    before = watched.counts
    watched.note("dropped", 3)

    assert before != watched.counts
    assert {"dropped": 3} == watched.status.notes


def test_what_others_have_written_can_always_be_told() -> None:
    watched, metrics = made(Clock())
    watched.failed("half \ud800", "a name with half a pair: \udcff", None)
    watched.note("what? \ud800")
    record = status_told(watched.status)

    assert b"half a pair: ?" in record.value
    assert {"other": 1} == watched.status.notes
    assert b'reason="other"' in generate_latest(metrics.registry)


def test_nobody_outside_makes_more_series_and_counts_than_a_process_can_stand() -> None:
    watched, metrics = made(Clock())
    for number in range(1_000):
        watched.note(f"note{number}")
        watched.backing_off(f"close_{number}", "it closed", 1, 1.0)
    other = Watched(Spec(id="s", kind="no-such"), owner="me", delivery="", metrics=metrics)
    other.failed("options", "no such kind", None)

    assert len(watched.status.notes) == MOST_LABELS + 1
    assert watched.status.notes["other"] == 1_000 - MOST_LABELS
    exposed = generate_latest(metrics.registry)
    assert exposed.count(b"triggers_reconnects_total{") == MOST_LABELS + 2
    assert b'provider="unknown"' in exposed
    assert b"no-such" not in exposed


def test_a_position_is_shown_without_secrets() -> None:
    watched, _ = made(Clock())
    watched.masked = lambda text: text.replace("secret", "***")
    watched.at_position({"next": "https://example.com/?token=secret"})

    assert watched.status.position == '{"next":"https://example.com/?token=***"}'


def test_the_seconds_of_a_link_that_still_stands_count_as_well_and_none_twice() -> None:
    clock = Clock()
    watched, metrics = made(clock)
    watched.starting("e1")
    watched.connected()
    seconds: list[float | None] = []
    for now in (1_030.0, 1_030.0, 1_020.0, 1_040.0):  # a clock may be set back
        clock.now = now
        watched.measure(0)
        seconds.append(metrics.registry.get_sample_value("triggers_connection_seconds_total", {"provider": "rss"}))
    clock.now = 1_050.0
    watched.disconnected()
    watched.measure(0)

    assert seconds == [30, 30, 30, 40]
    assert metrics.registry.get_sample_value("triggers_connection_seconds_total", {"provider": "rss"}) == 50
    assert watched.lived_seconds() == 50


def test_positions_take_no_time_to_be_acknowledged() -> None:
    watched, metrics = made(Clock())
    event, moved = Received(id="1", event_type="t", data=1), Moved(position=1)
    watched.published([Read(item=item, at=0.0, at_ms=0) for item in (event, moved)], 1, 0)

    assert metrics.registry.get_sample_value("triggers_ack_seconds_count", {"provider": "rss"}) == 1


async def told() -> None:
    pass


@pytest.mark.parametrize(("delivery", "dropped"), [("best-effort", 2), ("at-least-once", 0), ("exactly-once", 0)])
def test_what_nobody_tells_again_is_not_dropped_without_a_word(
    delivery: str, dropped: int, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = SourceMetrics()
    watched = Watched(Spec(id="s", kind="websocket"), owner="me", delivery=delivery, metrics=metrics)
    event = Received(id="1", event_type="t", data=1)
    odd, moved = Unreadable(id="2", reason="odd", raw=b""), Moved(position=1)
    items: list[Item] = [event, odd, replace(event, ack=told), replace(event, position=1), moved]
    watched.left([Read(item=item, at=0.0, at_ms=0) for item in items])
    watched.left([])

    assert watched.status.notes == ({"dropped": dropped} if dropped else {})
    assert [one.getMessage() for one in caplog.records] == ["source_dropped"] * bool(dropped)
