"""Entries as events: every field is there, and what is none is a dead letter with its bytes."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.contract import Received, Unreadable
from connectors.redis.entries import Entry, Form, Values, added_at, read

NOW = datetime(2026, 6, 1, tzinfo=UTC)


async def ack() -> None: ...


def made(form: Form, *pairs: bytes, entry_id: str = "1780272000000-0") -> Received | Unreadable:
    return read(Entry(stream="orders", id=entry_id, pairs=pairs), form, now=NOW, ack=ack)


def test_fields_become_an_object_and_the_stream_the_type() -> None:
    assert made(Form(), b"a", b"1", b"b", "é".encode()) == Received(
        id="orders/1780272000000-0",
        event_type="orders",
        data={"a": "1", "b": "é"},
        created_at=datetime(2026, 6, 1, tzinfo=UTC),
        ack=ack,
    )


def test_a_field_that_stands_twice_is_a_list() -> None:
    event = made(Form(), b"a", b"1", b"b", b"2", b"a", b"3")
    assert isinstance(event, Received)
    assert event.data == {"a": ["1", "3"], "b": "2"}


def test_fields_may_have_data_type_and_key() -> None:
    form = Form(data_field="d", type_field="t", key_field="k")
    event = made(form, b"d", b'{"x": [1]}', b"t", b"created", b"k", b"c-1", b"other", b"\xff")
    assert isinstance(event, Received)
    assert (event.data, event.event_type, event.key) == ({"x": [1]}, "created", "c-1")
    event = made(form, b"d", b"1", b"t", b"")
    assert isinstance(event, Received)
    assert (event.data, event.event_type, event.key) == (1, "orders", None)


def test_any_bytes_are_taken_in_base64() -> None:
    event = made(Form(values=Values.BASE64), b"a", b"\x00\xff")
    assert isinstance(event, Received)
    assert event.data == {"a": "AP8="}


@pytest.mark.parametrize(
    ("form", "pairs", "reason"),
    [
        (Form(), (b"a", b"\xff"), "the value of 'a' is no UTF-8; the option values can be base64"),
        (Form(), (b"\xff", b"a"), "the name of a field is no UTF-8; the option values can be base64"),
        (Form(data_field="d"), (b"a", b"1"), "it has no field 'd', which the option data_field names"),
        (Form(data_field="d"), (b"d", b"{"), "the field 'd' is no JSON ("),
    ],
)
def test_what_is_no_event_is_a_dead_letter(form: Form, pairs: tuple[bytes, ...], reason: str) -> None:
    item = made(form, *pairs)
    assert isinstance(item, Unreadable)
    assert (item.id, item.ack) == ("orders/1780272000000-0", ack)
    assert item.reason.startswith(reason)


def test_a_dead_letter_has_all_bytes() -> None:
    item = made(Form(), b"a", b"\xff", b"b", b"2")
    assert isinstance(item, Unreadable)
    assert item.raw == b'[["a",{"base64":"/w=="}],["b","2"]]'


@pytest.mark.parametrize(
    ("entry_id", "time"),
    [
        ("1780272000500-3", datetime(2026, 6, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("1-0", None),
        ("1780358400001-0", None),  # more than a day ahead
        ("99999999999999-0", None),
        ("18446744073709551615-0", None),
        ("x-0", None),
    ],
)
def test_the_time_of_an_id_counts_unless_somebody_chose_it(entry_id: str, time: datetime | None) -> None:
    assert added_at(entry_id, now=NOW) == time


@given(
    st.lists(st.binary(max_size=8), max_size=7),
    st.builds(Form, values=st.sampled_from(Values), data_field=st.none() | st.just("a"), type_field=st.just("b")),
)
def test_no_entry_is_unexpected(pairs: list[bytes], form: Form) -> None:
    item: Any = read(Entry(stream="s", id="1-1", pairs=[*pairs, b"a", b"1"]), form, now=NOW, ack=ack)
    assert item.id == "s/1-1"
