"""Where requests go: URLs and headers as users write them, and what redirects make of them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from connectors.base.contract import NotConnected, Refused
from connectors.base.reach.targets import Going, headers_of, named, target_of


def going(url: str = "https://a.example/x", method: str = "GET", **options: Any) -> Going:
    headers = options.pop("headers", {"Authorization": "s3cret", "Accept": "text/html"})
    return Going.begin(method, url, headers, json=options.get("json"), data=options.get("data"))


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("HTTP://Example.COM./a?b=c", "http://example.com/a?b=c"),
        ("http://127.1:8080/", "http://127.0.0.1:8080/"),
        ("http://[::ffff:10.0.0.1]/", "http://10.0.0.1/"),
        ("http://[0:0::1]/", "http://[::1]/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("https://a.example/o/b%2Fc?q=%26", "https://a.example/o/b%2Fc?q=%26"),
    ],
)
def test_a_url_has_its_host_in_plain_form(written: str, url: str) -> None:
    assert url == str(target_of(written, {"http", "https"}))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "a.example",
        "//a.example",
        "/path",
        "http:///path",
        "http:a.example",
        "ftp://a.example/",
        "file:///etc/passwd",
        "gopher://a.example:70/",
        "ws://a.example/",
        "http://a.example:99999/",
        "http://a.example:0/",
        "http://a.example:x/",
        "http://a.example\\@b.example/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://u@[]@",
    ],
)
def test_what_cannot_be_asked_is_refused(written: str) -> None:
    with pytest.raises(Refused) as caught:
        target_of(written, {"http", "https"})

    assert caught.value.reason in {"invalid_url", "invalid_host"}


@given(
    st.text(max_size=60), st.sampled_from(["", "http://", "https://a.example/", "http://a@", "http://[", "http://1."])
)
def test_no_url_escapes_as_an_unexpected_error(text: str, before: str) -> None:
    try:
        url = target_of(before + text, {"http", "https"})
    except Refused:
        return
    assert url.host


@pytest.mark.parametrize(
    "headers",
    [{"A": "b\r\nC: d"}, {"A": "b\nC"}, {"A": "\x00"}, {"A b": "c"}, {"A:": "c"}, {"": "c"}, {"A\r\nB": "c"}],
)
def test_a_header_that_would_begin_another_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        headers_of(headers)

    assert "invalid_header" == caught.value.reason


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "Sec-WebSocket-Key"])
def test_headers_that_end_a_request_are_the_clients_own(name: str) -> None:
    with pytest.raises(Refused, match="set by the client itself"):
        headers_of({name: "1"})


def test_credentials_in_a_url_become_a_header_and_nothing_names_them() -> None:
    asked = going("https://me:s3cret@a.example/x", headers={})

    assert {"Authorization": "Basic bWU6czNjcmV0"} == dict(asked.headers)
    assert URL("https://a.example/x") == asked.url
    assert "a.example:443" == named(asked.url) == asked.where()


def test_a_header_goes_before_the_credentials_of_the_url() -> None:
    assert {"Authorization": "Bearer x"} == dict(
        going("https://u:p@a.example/", headers={"Authorization": "Bearer x"}).headers
    )


def test_a_redirect_within_the_origin_keeps_everything() -> None:
    asked = going(method="PUT", data=b"1")
    asked.redirect(307, "/y?z=1#f")

    assert ("PUT", "https://a.example/y?z=1#f", b"1", "s3cret") == (
        asked.method,
        str(asked.url),
        asked.data,
        asked.headers["Authorization"],
    )


@pytest.mark.parametrize(
    "location",
    ["https://b.example/", "http://a.example/", "https://a.example:444/", "//b.example/", "https://u:p@b.example/"],
)
def test_a_redirect_to_another_origin_leaves_secrets_behind(location: str) -> None:
    secrets = dict.fromkeys(
        [
            "Authorization",
            "Cookie",
            "Proxy-Authorization",
            "X-Api-Key",
            "PRIVATE-TOKEN",
            "X-Session-Id",
            "X-Feed",
            "Host",
        ],
        "s3cret",
    )
    asked = going(headers={**secrets, "Accept": "text/html", "If-None-Match": '"1"'})
    asked.redirect(302, location)

    assert {"Accept": "text/html", "If-None-Match": '"1"'} == dict(asked.headers)
    assert asked.url.user is None


def test_secrets_do_not_come_back_when_redirects_do() -> None:
    asked = going()
    asked.redirect(302, "https://b.example/")
    asked.redirect(302, "https://a.example/")

    assert "Authorization" not in asked.headers


@pytest.mark.parametrize("status", [307, 308])
def test_a_body_is_not_sent_to_another_origin(status: int) -> None:
    with pytest.raises(Refused, match=r"redirects a request with a body to b\.example:443") as caught:
        going(method="POST", json={"password": "s3cret"}).redirect(status, "https://b.example/")

    assert "redirected" == caught.value.reason


@pytest.mark.parametrize(
    ("status", "method", "then", "data"),
    [
        (301, "POST", "GET", None),
        (302, "POST", "GET", None),
        (303, "POST", "GET", None),
        (303, "PUT", "GET", None),
        (303, "HEAD", "HEAD", None),
        (302, "PUT", "PUT", b"1"),
        (307, "POST", "POST", b"1"),
        (308, "POST", "POST", b"1"),
    ],
)
def test_the_method_after_a_redirect_is_that_of_the_fetch_standard(
    status: int, method: str, then: str, data: bytes | None
) -> None:
    asked = going(method=method, data=b"1")
    asked.redirect(status, "/y")

    assert (then, data) == (asked.method, asked.data)


@pytest.mark.parametrize(
    ("statuses", "moved_to"),
    [
        ([301], "https://a.example/1"),
        ([301, 308], "https://a.example/2"),
        ([301, 302, 301], "https://a.example/1"),
        ([302, 301], None),
        ([307], None),
    ],
)
def test_moved_is_only_what_permanent_redirects_led_to(statuses: list[int], moved_to: str | None) -> None:
    asked = going()
    for number, status in enumerate(statuses, 1):
        asked.redirect(status, f"/{number}#part")

    assert moved_to == asked.moved_to


def test_the_sixth_redirect_is_one_too_many() -> None:
    asked = going()
    for _ in range(5):
        asked.redirect(302, "/again")

    with pytest.raises(NotConnected, match=r"a\.example:443 redirects more than 5 times") as caught:
        asked.redirect(302, "/again")
    assert "redirects" == caught.value.reason


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "gopher://a/", "http://[::1", "http://u@[]@", "javascript:1", "data:,x", "ws://a/"],
)
def test_a_redirect_to_what_is_no_url_is_refused(location: str) -> None:
    with pytest.raises(Refused):
        going().redirect(302, location)
