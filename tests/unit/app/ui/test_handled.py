"""app.ui.handled: what a journal says of one event, from its records."""

from typing import Any

import pytest

from app.ui.handled import Journaled, Reading, passed_on
from topics import codec, journal, keys
from topics.envelope import Envelope
from topics.rawevents import raw_event

AT = 1_769_860_800_000


def event(offset: int = 5, key: str | None = "k") -> Envelope:
    record_key, value, headers = codec.produce_form("orders/created", 1, event_id=f"e{offset}", key=key)
    return codec.decode(value, record_key, headers, partition=0, offset=offset, timestamp_ms=AT, max_bytes=None)


EVENT = event()
RUN = keys.run_id("w", keys.digest_of(EVENT))
OTHER = "w:0123456789abcdef01234567"
Records = list[tuple[bytes, Any]]


def head(round_: int = 9, **given: Any) -> tuple[bytes, Any]:
    about = {"r": round_, "events": 6, "sent": {"2": 7}, "received": {"3/j3": 4}, "delivered": round_}
    return journal.HEAD, about | given


def read(records: Records, envelope: Envelope = EVENT) -> Journaled:
    reading = Reading(1, envelope, {RUN, keys.run_id("x", keys.digest_of(EVENT))})
    for key, value in records:
        reading.take(key, value if value is None or isinstance(value, bytes) else journal.encode(value))
    return reading.end()


def test_it_says_how_far_the_partition_is() -> None:
    claim = (journal.CLAIM, {"topics": {"journal": "j1"}})
    known = (journal.KNOWN, {"r": 1, "since": {"w": AT}})
    assert read([claim, known, head(1, events=2), head()]) == Journaled(
        partition=1,
        journal_id="j1",
        events_offset=6,
        sent={2: 7},
        received={"3/j3": 4},
        known_since_ms={"w": AT},
    )


def test_a_partition_that_nobody_ever_had_is_not_claimed() -> None:
    assert read([]) == Journaled(partition=1, claimed=False)


BODY = (journal.body_key(3), raw_event(EVENT) | {"r": 4})
PENDING = (journal.pending_key(3, "w"), {"r": 4})


@pytest.mark.parametrize(
    ("records", "waits_for"),
    [
        ([BODY, PENDING, (journal.pending_key(3, "x"), {"r": 4})], {"w", "x"}),
        ([BODY, PENDING, (PENDING[0], None)], set()),
        ([BODY, (journal.pending_key(4, "w"), {"r": 4})], set()),
        ([(BODY[0], raw_event(event(55)) | {"r": 4}), PENDING], set()),
    ],
)
def test_workflows_for_which_the_event_waits_are_named(records: Records, waits_for: set[str]) -> None:
    assert read([*records, head()]).waits_for == waits_for


def run(run_id: str, lane: Any = None, round_: int = 5) -> tuple[bytes, Any]:
    return journal.run_key(run_id), {"r": round_, "workflow": "w", "lane": lane}


def test_its_run_and_the_run_before_it_are_found() -> None:
    found = read([run(RUN), run(OTHER, ["w", "k"]), run("w:ff", ["w", "other"]), run("v:ff", ["v", "k"]), head()])
    assert found.runs == {RUN}
    assert found.holders == {"w": OTHER}
    assert read([run(OTHER, ["w", "k"]), head()], event(key=None)).holders == {}


def test_a_run_that_is_over_or_was_never_committed_is_not_there() -> None:
    assert read([run(RUN), run(OTHER, ["w", "k"]), (journal.run_key(RUN), None), run(OTHER), head()]).holders == {}
    assert read([head(4), run(RUN, round_=5)]).runs == frozenset()


@pytest.mark.parametrize(("delivered", "decided"), [(3, {RUN}), (5, set())])
def test_a_result_that_is_still_to_be_sent_is_known(delivered: int, decided: set[str]) -> None:
    out = (journal.out_key(0), b'{"r":5,"runs":[],"results":[{"run_id":"%b"}]}' % RUN.encode())
    assert read([out, head(delivered=delivered)]).decided == decided
    assert read([out, (out[0], {"r": 6}), head(delivered=delivered)]).decided == frozenset()


def test_a_dead_letter_that_is_still_to_be_sent_is_known() -> None:
    letter = {"source": {"topic": "headgate.events", "partition": 0, "offset": 5, "timestamp": ""}}
    out = {"r": 5, "records": [["dlq", None, None, journal.encode(letter).decode(), [], False]]}
    assert read([(journal.out_key(0), out), head(delivered=4)]).decided == {""}
    assert read([(journal.out_key(0), out), head(delivered=4)], event(50)).decided == frozenset()


@pytest.mark.parametrize(("received", "passed"), [({"1/j": 7}, True), ({"1/j": 6}, False), ({"1/older": 9}, False)])
def test_what_was_passed_on_is_handled_once_all_of_it_is(received: dict[str, int], passed: bool) -> None:
    source = Journaled(partition=1, journal_id="j", sent={2: 7})
    assert passed_on(source, Journaled(partition=2, received=received)) is passed
    assert passed_on(source, Journaled(partition=3))
    assert passed_on(source, source)
