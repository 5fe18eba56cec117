"""Bodies as JSON, by their content type."""

import base64
from typing import Any

import pytest

from connectors.webhook import bodies
from connectors.webhook.bodies import Body, Encoding, Media
from connectors.webhook.messages import Denial
from tests.unit.connectors.webhook.signing import request


def read(raw: bytes, content_type: str = "", **headers: str) -> Body:
    given = request(raw, {"content-type": content_type} | {k.replace("_", "-"): v for k, v in headers.items()})
    return bodies.read(given, Media.of(given))


@pytest.mark.parametrize(
    ("content_type", "raw", "value", "encoding"),
    [
        ("application/json", b'{"a":1}', {"a": 1}, "json"),
        ("Application/JSON; Charset=UTF-8", b"[1]", [1], "json"),
        ("application/json", b"\xef\xbb\xbf1", 1, "json"),
        ("application/problem+json", b"null", None, "json"),
        ("", b'{"a":1}', {"a": 1}, "json"),
        ("", b"plain", "plain", "text"),
        ("", b"\xff\x00", "/wA=", "base64"),
        ("text/plain", "grün".encode(), "grün", "text"),
        ("text/plain; charset=iso-8859-1", b"gr\xfcn", "grün", "text"),
        ("text/plain", b"gr\xfcn", "Z3L8bg==", "base64"),
        ("text/plain; charset=x-odd", b"abc", "YWJj", "base64"),
        ("application/xml", b"<a/>", "<a/>", "text"),
        ("image/png", b"\x89PNG", base64.b64encode(b"\x89PNG").decode(), "base64"),
        ("application/x-www-form-urlencoded", b"a=1&b=2&b=3&c=&d=%C3%BC+x", None, "form"),
        ("application/json", b"", None, "empty"),
        ("image/png", b"", None, "empty"),
    ],
)
def test_a_body_is_read_by_its_content_type(content_type: str, raw: bytes, value: Any, encoding: str) -> None:
    if encoding == "form":
        value = {"a": "1", "b": ["2", "3"], "c": "", "d": "ü x"}
    assert read(raw, content_type) == Body(value=value, encoding=Encoding(encoding))


@pytest.mark.parametrize(
    ("content_type", "raw", "status"),
    [
        ("application/json", b"{", 400),
        ("application/json", b'"\xff"', 400),
        ("application/json", b"[" * 201 + b"]" * 201, 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/json", b"1e999", 400),
        ("application/json; charset=utf-16", b"{}", 415),
        ("application/x-www-form-urlencoded", b"a=1&" * 1001, 400),
    ],
)
def test_what_is_not_what_it_says_is_denied(content_type: str, raw: bytes, status: int) -> None:
    with pytest.raises(Denial) as denial:
        read(raw, content_type)
    assert denial.value.denied.status == status


def test_a_compressed_body_and_two_content_types_are_415() -> None:
    with pytest.raises(Denial, match="compressed"):
        read(b"{}", "application/json", content_encoding="gzip")
    assert read(b"{}", "application/json", content_encoding="identity").value == {}
    twice = request(b"{}", {"content-type": "a/b", "Content-Type": "c/d"})
    with pytest.raises(Denial, match="twice"):
        Media.of(twice)


def test_allowed_content_types_may_name_a_family() -> None:
    media = Media(name="text/csv", charset="")
    assert (media.is_one_of(["text/*"]), media.is_one_of(["application/json"]), media.is_one_of([])) == (
        True,
        False,
        False,
    )
    assert not Media(name="", charset="").is_one_of(["text/*"])


def test_a_payload_in_a_form_is_the_body() -> None:
    form = Body(value={"payload": '{"a": 1}'}, encoding=Encoding.FORM)
    assert bodies.payload_of(form) == {"a": 1}
    assert bodies.payload_of(Body(value={"payload": "x"}, encoding=Encoding.JSON)) == {"payload": "x"}
    assert bodies.payload_of(Body(value={"text": "x"}, encoding=Encoding.FORM)) == {"text": "x"}
    with pytest.raises(Denial):
        bodies.payload_of(Body(value={"payload": "{"}, encoding=Encoding.FORM))
