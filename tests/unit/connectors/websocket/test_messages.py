"""Messages as events: data, type, id and position, whatever somebody sends."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base.services.bodies import Form
from connectors.base.texts.templates import MISSING
from connectors.websocket.messages import NotReadable, Reading, found, pointer


@pytest.mark.parametrize(
    ("form", "raw_binary", "message", "data"),
    [
        (Form.AUTO, False, ' {"a": 1}', {"a": 1}),
        (Form.AUTO, False, "[1]", [1]),
        (Form.AUTO, False, "{no", "{no"),
        (Form.AUTO, False, "12", "12"),
        (Form.AUTO, False, "", ""),
        (Form.AUTO, False, b"[1]", "WzFd"),
        (Form.AUTO, True, b"[1]", [1]),
        (Form.JSON, False, "12", 12),
        (Form.TEXT, False, '{"a": 1}', '{"a": 1}'),
        (Form.BASE64, False, "abc", "YWJj"),
        (Form.BASE64, True, b"abc", "YWJj"),
    ],
)
def test_data_has_the_form_of_the_options(form: Form, raw_binary: bool, message: str | bytes, data: Any) -> None:
    assert Reading(form=form, raw_binary=raw_binary).data(message) == data


@pytest.mark.parametrize(
    ("form", "message", "reason"),
    [
        (Form.JSON, "{no", "it is no JSON: "),
        (Form.AUTO, b"\xff", "the bytes are no UTF-8; the option binary can be base64"),
    ],
)
def test_what_has_another_form_is_not_readable(form: Form, message: str | bytes, reason: str) -> None:
    with pytest.raises(NotReadable) as error:
        Reading(form=form, raw_binary=True).data(message)
    assert str(error.value).startswith(reason)


@pytest.mark.parametrize(
    ("data", "event_type"),
    [
        ({"type": "a", "event": "b"}, "a"),
        ({"type": None, "event": "b"}, "b"),
        ({"type": "", "event": 3}, "3"),
        ({"type": True, "event": {"x": 1}}, "message"),
        ({"type": "x" * 201}, "message"),
        ({}, "message"),
        ([{"type": "a"}], "message"),
        ("type", "message"),
    ],
)
def test_the_type_is_that_of_the_message_else_its_event_else_message(data: Any, event_type: str) -> None:
    assert Reading().event_type(data) == event_type


def test_a_pointer_to_the_type_goes_before_the_rule() -> None:
    reading = Reading(type_pointer=pointer("/e/0"))
    assert reading.event_type({"type": "a", "e": ["b"]}) == "b"
    assert reading.event_type({"type": "a"}) == "message"


@pytest.mark.parametrize(
    ("value", "event_id"), [("a", "a"), (7, "7"), (7.5, "7.5"), ("", None), (True, None), (None, None), ({}, None)]
)
def test_an_id_is_a_text_or_a_number(value: Any, event_id: str | None) -> None:
    assert Reading(id_pointer=pointer("/id")).event_id({"id": value}) == event_id


def test_without_a_pointer_there_is_neither_id_nor_position() -> None:
    assert Reading().event_id({"id": 1}) is None
    assert Reading().position({"seq": 1}) is MISSING


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {"a": {"b/c": [10, {"~": 0}]}}),
        ("/a/b~1c/0", 10),
        ("/a/b~1c/1/~0", 0),
        ("/a/b~1c/2", MISSING),
        ("/a/b~1c/-", MISSING),
        ("/a/b~1c/0/0", MISSING),
        ("/x", MISSING),
    ],
)
def test_a_pointer_leads_to_a_value_or_nothing(text: str, value: Any) -> None:
    assert found({"a": {"b/c": [10, {"~": 0}]}}, pointer(text)) == value


def test_a_pointer_without_its_slash_is_none() -> None:
    with pytest.raises(ValueError, match="begins with /, such as /data/id"):
        pointer("id")


@pytest.mark.parametrize("form", [Form.AUTO, Form.JSON])
def test_what_is_nested_too_deep_for_an_event_is_not_readable(form: Form) -> None:
    reading = Reading(form=form)
    assert reading.data("[" * 200 + "]" * 200)
    assert reading.data("[" + "{}, " * 300 + "1]")
    for levels in (201, 1_000):
        with pytest.raises(NotReadable, match="nests deeper than 200 levels"):
            reading.data('{"id": ' + "[" * levels + "]" * levels + "}")


@given(st.text() | st.binary(), st.sampled_from(Form), st.booleans())
def test_no_message_is_unexpected(message: str | bytes, form: Form, raw_binary: bool) -> None:
    where = pointer("/0/a")
    reading = Reading(form=form, raw_binary=raw_binary, id_pointer=where, type_pointer=where, position_pointer=where)
    try:
        data = reading.data(message)
    except NotReadable:
        return
    assert reading.event_type(data)
    assert reading.event_id(data) is None or isinstance(reading.event_id(data), str)
    reading.position(data)
