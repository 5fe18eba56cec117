"""The parser of event streams: the standard's examples and its odd corners, in whole and byte by byte."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.http_stream.parser import BEGINNING_BYTES, MOST_RETRY_MS, Event, Moved, Parser, TooLarge
from tests.unit.connectors.http_stream import reference
from tests.unit.connectors.http_stream.reference import Told


def message(data: str, last_event_id: str = "", event_type: str = "message") -> Told:
    return "event", event_type, data, last_event_id


def moved(last_event_id: str) -> Told:
    return "moved", "", "", last_event_id


CASES: dict[str, tuple[bytes, list[Told]]] = {
    "several lines of data": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [message("YHOO\n+2\n10")]),
    "the four blocks of the standard": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [message("first event", "1"), message("second event"), message(" third event")],
    ),
    "data without value": (b"data\n\ndata\ndata\n\ndata:", [message(""), message("\n")]),
    "only one space is removed": (
        b"data:test\n\ndata: test\n\ndata:  test\n\n",
        [message(one) for one in ("test", "test", " test")],
    ),
    "types": (
        b"event: add\ndata: 1\n\nevent: old\nevent: change\ndata: 2\n\nevent:\ndata: 3\n\nevent: lost\n\ndata: 4\n\n",
        [message("1", "", "add"), message("2", "", "change"), message("3"), message("4")],
    ),
    "line ends of every form": (
        b"data: lf\n\ndata: cr\r\rdata: crlf\r\n\r\ndata: a\rdata: b\ndata: c\r\n\n",
        [message("lf"), message("cr"), message("crlf"), message("a\nb\nc")],
    ),
    "LF CR is two line ends": (b"data: a\n\rdata: b\n\r", [message("a"), message("b")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: first\n\n", [message("first")]),
    "a second byte order mark is part of a name": (
        b"\xef\xbb\xbf\xef\xbb\xbfdata: no\n\ndata: yes\n\n",
        [message("yes")],
    ),
    "a byte order mark later on is data": (b"data: \xef\xbb\xbfx\n\n", [message("\ufeffx")]),
    "comments": (b":\n\n: data: no\n\n:data: no\ndata: yes\n:\n\n", [message("yes")]),
    "names are read to the letter": (b"Data: no\n data: no\ndata : no\ndatas: no\ndata: yes\n\n", [message("yes")]),
    "colons in values": (b"data: a:b\ndata::\n\n", [message("a:b\n:")]),
    "what other alphabets take for line ends is data": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(),
        [message("a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg")],
    ),
    "a tab is no space": (b"data:\ttest\n\n", [message("\ttest")]),
    "a NUL is data": (b"data: a\0b\n\nda\0ta: no\n\n", [message("a\0b")]),
    "invalid UTF-8 is replaced": (
        b"data: \xff\xe2\x82\n\ndata: ok \xc3\x28\n\ndata: \xed\xa0\x80\n\n",
        [message("\ufffd\ufffd"), message("ok \ufffd("), message("\ufffd\ufffd\ufffd")],
    ),
    "UTF-8 of every length": ("data: é€😀\nid: ж\n\n".encode(), [message("é€😀", "ж")]),
    "ids stay until another comes": (
        b"id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n",
        [message("a", "1"), message("b", "1"), message("c", "2")],
    ),
    "an id without data counts": (b"id: 7\n\ndata: a\n\n", [moved("7"), message("a", "7")]),
    "an id that is unfinished does not": (b"data: a\nid: 1\n\nid: 2\ndata: b\n", [message("a", "1")]),
    "an id with NUL is ignored": (b"id: 1\n\nid: 2\x003\ndata: a\n\n", [moved("1"), message("a", "1")]),
    "an empty id resets": (b"id: 1\ndata: a\n\nid:\ndata: b\n\nid\n\n", [message("a", "1"), message("b")]),
    "an event without its end is none": (b"data: a\n\ndata: b", [message("a")]),
    "nor is one whose line has ended": (b"data: a\n\ndata: b\n", [message("a")]),
    "empty lines are nothing": (b"\n\r\r\n\n\ndata: a\n\n\n\n", [message("a")]),
    "unknown fields are nothing": (b"foo: bar\n\nfoo\ndata: a\nretri: 5\n\n", [message("a")]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_standard_in_whole_and_byte_by_byte(name: str) -> None:
    stream, expected = CASES[name]

    assert reference.ours([stream])[0] == expected
    assert reference.ours([bytes([byte]) for byte in stream])[0] == expected
    assert reference.ours([piece for byte in stream for piece in (b"", bytes([byte]))])[0] == expected


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\n", None),
        (b"retry: 1500\n", 1500),
        (b"retry:007\r", 7),
        (b"retry: 0\n", 0),
        (b"retry: 1\nretry: 2\n\n", 2),
        (b"retry: 10\n\nretry: 10s\nretry: -1\nretry: +1\nretry: 1.5\nretry: \nretry:  1\nretry\n", 10),
        ("retry: \u0661\n".encode(), None),
        (b"retry: " + b"9" * 5_000 + b"\n", MOST_RETRY_MS),
        (b"retry: " + b"0" * 5_000 + b"5\n", 5),
        (b"retry: 5", None),
    ],
)
def test_the_reconnection_time_is_made_of_digits_alone(stream: bytes, expected: int | None) -> None:
    assert reference.ours([stream])[1] == expected
    assert reference.ours([bytes([byte]) for byte in stream])[1] == expected


def test_an_event_is_told_as_soon_as_its_last_byte_is_there() -> None:
    for end in (b"\n\n", b"\r\r", b"\r\n\r"):
        parser = Parser(max_event_bytes=100)

        assert [parser.feed(bytes([byte])) for byte in b"data: a" + end][:-1] == [[]] * (6 + len(end))
        assert parser.feed(b"") == []

    assert Parser(max_event_bytes=100).feed(b"data: a\r\n\r") != []


def test_its_own_id_is_told_apart_from_the_one_that_stays() -> None:
    parser = Parser(last_event_id="0", max_event_bytes=100)

    assert parser.feed(b"data: a\n\nid: 1\ndata: b\n\ndata: c\n\nid: 2\nid:\ndata: d\n\nid: 3\n\n: 3\n\n") == [
        Event(event_type="message", data="a", own_id=None, last_event_id="0"),
        Event(event_type="message", data="b", own_id="1", last_event_id="1"),
        Event(event_type="message", data="c", own_id=None, last_event_id="1"),
        Event(event_type="message", data="d", own_id=None, last_event_id=""),
        Moved(last_event_id="3"),
    ]


# ---- size ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_event_that_is_too_large_is_cut_off_and_those_around_it_are_told(step: int) -> None:
    small, large = b"data: %s\nid: %d\n\n" % (b"x" * 100, 1), b"event: e\ndata: %s\nid: %d\n\n" % (b"y" * 101, 2)
    lines = b"data: %s\ndata: %s\n\n" % (b"z" * 50, b"z" * 50)
    stream = small + large + small + lines + small
    parser = Parser(max_event_bytes=100)

    found = [block for at in range(0, len(stream), step) for block in parser.feed(stream[at : at + step])]

    event = Event(event_type="message", data="x" * 100, own_id="1", last_event_id="1")
    cut = TooLarge(event_type="e", beginning=b"y" * 101, size_bytes=101, own_id="2", last_event_id="2")
    more = TooLarge(
        event_type="message", beginning=b"z" * 50 + b"\n" + b"z" * 50, size_bytes=101, own_id=None, last_event_id="1"
    )
    assert found == [event, cut, event, more, event]


def test_an_event_of_exactly_the_limit_is_told() -> None:
    for stream in (b"data:" + b"x" * 94 + b"\n\n", b"data: %s\ndata: %s\n\n" % (b"x" * 50, b"x" * 49)):
        assert [type(block) for block in Parser(max_event_bytes=100).feed(stream)] == [Event]


def test_a_hundred_megabytes_take_no_memory() -> None:
    parser = Parser(max_event_bytes=1024 * 1024)
    chunk = b"x" * 64 * 1024
    parser.feed(b"data: ")
    for _ in range(1600):
        assert parser.feed(chunk) == []
        assert len(parser._line) <= 1024 * 1024 + BEGINNING_BYTES
    (found,) = parser.feed(b"\n\n")

    assert isinstance(found, TooLarge)
    assert found.size_bytes == 1600 * 64 * 1024
    assert found.beginning == b"x" * BEGINNING_BYTES

    for _ in range(1600):
        assert parser.feed(b"data: " + chunk + b"\n") == []
        assert sum(map(len, parser._data)) <= 1024 * 1024
    (found,) = parser.feed(b"\n")
    assert isinstance(found, TooLarge)
    assert found.beginning == b"x" * BEGINNING_BYTES


@pytest.mark.parametrize("begin", [b":", b"event: ", b"id: ", b"retry: ", b"x", b"datax: "])
def test_a_long_line_that_is_no_data_is_nothing(begin: bytes) -> None:
    parser = Parser(last_event_id="1", max_event_bytes=100)

    found = parser.feed(begin + b"9" * 200) + parser.feed(b"9" * 200 + b"\n\ndata: a\n\n")

    assert found == [Event(event_type="message", data="a", own_id=None, last_event_id="1")]
    assert parser.retry_ms is None


# ---- any bytes -------------------------------------------------------------------------------------------------------

STREAMS = st.one_of(st.binary(max_size=60), st.lists(st.sampled_from(reference.PIECES), max_size=30).map(b"".join))


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8), st.sampled_from(["", "5"]))
def test_any_bytes_in_any_pieces_are_what_the_standard_says(stream: bytes, cuts: list[int], last: str) -> None:
    at = sorted({0, len(stream), *(one for one in cuts if one < len(stream))})

    assert reference.ours([stream[begin:end] for begin, end in pairwise(at)], last) == reference.read(stream, last)


@given(STREAMS, st.integers(1, 12))
def test_with_any_limit_nothing_escapes_and_nothing_larger_is_told(stream: bytes, most: int) -> None:
    whole = Parser(max_event_bytes=most).feed(stream)
    parser = Parser(max_event_bytes=most)

    assert [block for byte in stream for block in parser.feed(bytes([byte]))] == whole
    for block in whole:
        if isinstance(block, Event):
            assert len(block.data.encode()) <= 3 * most  # an invalid byte becomes three
