"""What one partition's owner asks of another's: as it is written, as it comes back, and what is none."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topics import codec, commands
from topics.commands import Batched
from topics.envelope import Envelope


def read(value: bytes, key: bytes | None = None, headers: Any = (), offset: int = 5) -> Envelope:
    return codec.decode(value, key, headers, partition=2, offset=offset, timestamp_ms=77, max_bytes=None)


EVENTS = [
    read(b'{"topic":"orders/created","data":{"n":1},"id":"a","key":"k"}', b"other"),
    read(b'{"name":"order.created","payload":[1,2]}', None, [("traceparent", b"00-" + b"0" * 32), ("x", b"\xff")]),
    read(b'{"n":1}', b"\xc3\xa9", [("topic", b"plain"), ("reply_topic", b"answers"), ("correlation_id", b"c")]),
    read(
        b"\x31",
        None,
        [
            ("ce_specversion", b"1.0"),
            ("ce_id", b"e"),
            ("ce_source", b"/s"),
            ("ce_type", b"t"),
            ("ce_subject", b"s"),
            ("y", None),
        ],
    ),
]


def encoded(**changed: Any) -> bytes:
    fields: dict[str, Any] = {
        "source": 3,
        "journal_id": "j-1",
        "sequence": 9,
        "partitions": 8,
        "events": EVENTS[:2],
        "batched": [Batched("charge", EVENTS[2]), Batched("ship", EVENTS[3], 1_700_000_000_000)],
    }
    return commands.encode(**(fields | changed))


def test_a_command_comes_back_as_it_was() -> None:
    assert commands.decode(encoded()) == commands.Command(
        3, "j-1", 9, 8, EVENTS[:2], [Batched("charge", EVENTS[2]), Batched("ship", EVENTS[3], 1_700_000_000_000)]
    )


def test_when_a_workflow_was_announced_is_told_where_older_releases_pass_over_it() -> None:
    [plain, told] = orjson.loads(encoded())["batched"]
    assert plain == ["charge", commands.raw_event(EVENTS[2]) | {"headers": plain[1]["headers"]}]
    assert told[1].pop("announced") == 1_700_000_000_000
    assert commands.event_of(plain[1] | {"announced": 5}) == EVENTS[2]
    old = orjson.dumps(orjson.loads(encoded()) | {"batched": [plain, told]})
    assert [one.announced_ms for one in commands.decode(old).batched] == [0, 0]


def test_a_command_of_nothing_comes_back_too() -> None:
    assert commands.decode(encoded(events=[], batched=[])) == commands.Command(3, "j-1", 9, 8, [], [])


def test_a_command_is_written_like_this_for_ever() -> None:
    assert orjson.loads(encoded(events=EVENTS[:1], batched=[])) == {
        "v": 1,
        "source": 3,
        "journal": "j-1",
        "sequence": 9,
        "partitions": 8,
        "events": [
            {
                "p": 2,
                "o": 5,
                "t": 77,
                "key": "other",
                "value": '{"topic":"orders/created","data":{"n":1},"id":"a","key":"k"}',
                "headers": [],
            }
        ],
        "batched": [],
    }


@pytest.mark.parametrize("one", EVENTS)
def test_an_event_is_decoded_there_as_if_it_had_been_read_there(one: Envelope) -> None:
    assert commands.event_of(orjson.loads(orjson.dumps(commands.raw_event(one)))) == one


def test_an_event_that_was_taken_before_the_limit_was_lowered_is_taken_still() -> None:
    large = read(b'{"topic":"t","data":"%b"}' % (b"x" * 2_000_000))

    assert commands.event_of(commands.raw_event(large)) == large


def test_an_event_that_was_taken_with_any_number_of_headers_is_taken_still() -> None:
    many = read(b'{"topic":"t","data":1}', None, [("h", b"")] * 1_000)

    assert commands.event_of(commands.raw_event(many)) == many


def test_what_was_encoded_one_by_one_is_the_same_command() -> None:
    about: dict[str, Any] = {"source": 3, "journal_id": "j-1", "sequence": 9, "partitions": 8}
    events = [commands.encode_event(one) for one in EVENTS[:2]]
    batched = [commands.encode_batched(one) for one in commands.decode(encoded()).batched]

    assert commands.join(**about, events=events, batched=batched) == encoded()


def test_what_is_cut_keeps_its_order_and_no_command_is_too_large_but_for_one_part() -> None:
    events, batched = [b"e" * 3, b"E" * 50], [b"b" * 3]
    asks = [b"%d" % number for number in range(1_100)]

    chunks = commands.cut(events, batched, asks, most_bytes=20)

    assert [one for chunk in chunks for one in chunk[0]] == events
    assert [one for chunk in chunks for one in chunk[1]] == batched
    assert [one for chunk in chunks for one in chunk[2]] == asks
    assert chunks[1] == ([b"E" * 50], [], [])
    assert all(sum(len(one) + 1 for kind in chunk for one in kind) <= 20 for chunk in (chunks[0], *chunks[2:]))
    assert [len(chunk[2]) for chunk in commands.cut([], [], asks, most_bytes=1_000_000)] == [500, 500, 100]
    assert commands.cut([], [], [], most_bytes=20) == [([], [], [])]


GOOD: dict[str, Any] = orjson.loads(encoded())


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"not json",
        b"[]",
        b"7",
        b"{}",
        b"\xff",
        orjson.dumps(GOOD | {"v": 2}),
        orjson.dumps(GOOD | {"source": None}),
        orjson.dumps(GOOD | {"sequence": "x"}),
        orjson.dumps(GOOD | {"source": 8}),
        orjson.dumps(GOOD | {"source": -1}),
        orjson.dumps(GOOD | {"source": "3"}),
        orjson.dumps(GOOD | {"partitions": 1e300}),
        orjson.dumps(GOOD | {"sequence": 1e300}),
        orjson.dumps(GOOD | {"sequence": 2**63}),
        orjson.dumps(GOOD | {"sequence": True}),
        orjson.dumps(GOOD | {"journal": "x" * 101}),
        orjson.dumps(GOOD | {"events": 7}),
        orjson.dumps(GOOD | {"events": [{}]}),
        orjson.dumps(GOOD | {"events": [GOOD["events"][0] | {"value": "{}"}]}),
        orjson.dumps(GOOD | {"events": [GOOD["events"][0] | {"value": ["?"]}]}),
        orjson.dumps(GOOD | {"events": [GOOD["events"][0] | {"key": []}]}),
        orjson.dumps(GOOD | {"events": [GOOD["events"][0] | {"headers": [["x"]]}]}),
        orjson.dumps(GOOD | {"events": [GOOD["events"][0] | {"p": "0"}]}),
        orjson.dumps(GOOD | {"batched": [["charge"]]}),
        orjson.dumps(GOOD | {"batched": [["charge", []]]}),
        orjson.dumps(GOOD | {"batched": [["charge", GOOD["events"][0] | {"announced": "then"}]]}),
        orjson.dumps(GOOD | {"batched": [["charge", GOOD["events"][0] | {"announced": 1e300}]]}),
        orjson.dumps(GOOD | {"batched": [["charge", GOOD["events"][0] | {"announced": None}]]}),
        orjson.dumps(GOOD | {"batched": [[7, GOOD["events"][0]]]}),
    ],
)
def test_what_is_no_command_is_refused_and_nothing_else_is_raised(value: bytes | None) -> None:
    with pytest.raises(commands.UnreadableCommand):
        commands.decode(value)


def test_a_newer_command_says_so() -> None:
    with pytest.raises(commands.UnreadableCommand, match="a command of format 3; this release reads format 2"):
        commands.decode(orjson.dumps(GOOD | {"v": 3}))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(value: bytes) -> None:
    with pytest.raises(commands.UnreadableCommand):
        commands.decode(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('ab{}[]"', max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["p", "key", "value", "v"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), JSON))
def test_no_wrong_field_raises_anything_else(changed: dict[str, Any]) -> None:
    try:
        found = commands.decode(orjson.dumps(GOOD | changed))
    except commands.UnreadableCommand:
        return
    assert isinstance(found, commands.Command)
