"""Bodies of messages: what they become, and that no body escapes as an unexpected exception."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.services.bodies import Form, NotOfThatForm, read


@pytest.mark.parametrize(
    ("body", "form", "data"),
    [
        (b'{"a": 1}', Form.AUTO, {"a": 1}),
        (b" [1, 2]", Form.AUTO, [1, 2]),
        (b"12", Form.AUTO, "12"),
        (b"true", Form.AUTO, "true"),
        (b"{not json", Form.AUTO, "{not json"),
        (b"", Form.AUTO, ""),
        (b"\xff\x00", Form.AUTO, "/wA="),
        (b"[\xff]", Form.AUTO, "W/9d"),
        (b"12", Form.JSON, 12),
        (b"12", Form.TEXT, "12"),
        (b"12", Form.BASE64, "MTI="),
    ],
)
def test_a_body_becomes_data(body: bytes, form: Form, data: Any) -> None:
    assert read(body, form) == data


@pytest.mark.parametrize(
    ("body", "form", "words"),
    [
        (b"{not json", Form.JSON, "no JSON"),
        (b'{"a": NaN}', Form.JSON, "no JSON"),
        (b"[" * 100_000, Form.JSON, "no JSON"),
        (b"a\xff", Form.TEXT, "no UTF-8: invalid start byte at byte 1"),
    ],
)
def test_a_body_of_another_form_is_told(body: bytes, form: Form, words: str) -> None:
    with pytest.raises(NotOfThatForm, match=words):
        read(body, form)


@settings(deadline=None)
@given(
    body=st.binary()
    | st.text().map(str.encode)
    | st.recursive(st.none() | st.integers(0, 9), st.lists).map(orjson.dumps)
)
def test_auto_takes_everything(body: bytes) -> None:
    assert isinstance(read(body, Form.AUTO), str | list | dict)
