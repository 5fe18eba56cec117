"""Which page comes next, and what is asked for it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.poll import paging
from connectors.poll.config import Rest
from connectors.poll.progress import Progress, Record, Value

URL = "https://api.example/v1/orders?key=s3cret&status=paid"


def rest(**options: Any) -> Rest:
    return Rest.model_validate({"url": URL, **options})


def url(options: Rest, following: Any = None, **progress: Any) -> str:
    return paging.url_of(options, Progress(tag="t", next=following, **progress), 5)


def following(options: Rest, answer: Any = None, *, link: str = "", count: int = 2, **progress: Any) -> Any:
    records = [Record(event_id=str(number), data={}, value=number) for number in range(count)]
    return paging.next_of(
        options,
        Progress(tag="t", **progress),
        asked=URL,
        headers={"Link": link} if link else {},
        answer=answer,
        records=records,
    )


# ---- the first page ----------------------------------------------------------------------------------------------


def test_a_url_without_anything_to_say_stays_as_it_is() -> None:
    odd = "https://api.example/a%2Fb?x=%2f&y=a+b"

    assert odd == paging.url_of(rest(url=odd), Progress(tag="t"), 0)


@pytest.mark.parametrize(
    ("cursor", "value", "parameter"),
    [
        ({"by": "id", "parameter": "since"}, 100, "since=95"),
        ({"by": "id", "parameter": "since"}, "01HX", "since=01HX"),
        ({"by": "timestamp", "field": "t", "parameter": "from"}, 1_000_005, "from=1970-01-01T00%3A00%3A01Z"),
        ({"by": "timestamp", "field": "t", "parameter": "from", "format": "seconds"}, 7_000_005, "from=7"),
    ],
)
def test_the_cursor_less_the_overlap_is_a_parameter(cursor: dict[str, Any], value: Value, parameter: str) -> None:
    options = rest(cursor=cursor)

    assert URL == url(options)
    assert f"{URL}&{parameter}" == url(options, cursor=value)


def test_a_parameter_takes_the_place_of_one_that_is_there() -> None:
    assert "https://api.example/?b=1&since=5" == paging.url_of(
        rest(url="https://api.example/?since=0&b=1", cursor={"by": "id", "parameter": "since"}),
        Progress(tag="t", cursor=5),
        0,
    )


def test_a_token_is_sent_back() -> None:
    options = rest(cursor={"by": "token", "field": "next", "parameter": "after"})

    assert f"{URL}&after=t1%3D" == url(options, {"more": True}, token="t1=")


# ---- the next page -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "link"),
    [
        ('<https://a/2>; rel="next"', "https://a/2"),
        ('<https://a/1>; rel="prev", <https://a/3>; rel="next"', "https://a/3"),
        ('<https://a/3?q=a,b;c>; title="x, y; rel=no"; rel=next', "https://a/3?q=a,b;c"),
        ("<https://a/2>;rel=NEXT", "https://a/2"),
        ('<https://a/2>; rel="last next"', "https://a/2"),
        ("<?page=2>; rel=next", "?page=2"),
        ('<https://a/1>; rel="prev"', None),
        ('<https://a/1>; rel="nextish"', None),
        ("", None),
        ("https://a/2; rel=next", None),
        ("<", None),
    ],
)
def test_the_link_to_the_next_page_is_found(header: str, link: str | None) -> None:
    assert link == paging.next_link(header)


@given(st.text(alphabet='<>;,="rel next\\', max_size=60))
def test_no_header_escapes_as_an_error(header: str) -> None:
    paging.next_link(header)


def test_a_link_is_kept_without_what_the_options_say_and_leads_to_the_same_page() -> None:
    options = rest(paging={"by": "link"})
    link = "https://api.example/v1/orders?key=s3cret&status=paid&after=x%20y"

    found = following(options, link=f'<{link}>; rel="next"')

    assert "s3cret" not in str(found)
    assert link.replace("%20", "+") == url(options, found, cursor=1)


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("?page=2&status=paid&key=s3cret", "https://api.example/v1/orders?key=s3cret&status=paid&page=2"),
        ("/v1/orders/page/2?key=masked", "https://api.example/v1/orders/page/2?key=s3cret"),
        ("/v1/orders?cursor=abc", "https://api.example/v1/orders?key=s3cret&cursor=abc"),
        ("https://api.example:443/v1/orders?status=open", "https://api.example/v1/orders?key=s3cret&status=open"),
    ],
)
def test_a_link_says_what_of_the_query_stays_but_keys_are_always_sent(link: str, leads_to: str) -> None:
    options = rest(paging={"by": "url", "field": "next"})

    assert leads_to == url(options, following(options, {"next": link}))


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/x",
        "http://api.example/v1/orders",
        "//evil.example/",
        "https://api.example:8443/",
        "https://[x/",
    ],
)
def test_a_link_to_another_origin_is_refused(link: str) -> None:
    with pytest.raises(paging.Elsewhere):
        following(rest(paging={"by": "link"}), link=f"<{link}>; rel=next")


@pytest.mark.parametrize("answer", [{}, {"next": None}, {"next": ""}, [], None, 5])
def test_no_link_is_the_end(answer: Any) -> None:
    assert following(rest(paging={"by": "url", "field": "next"}), answer) is None


def test_a_link_that_is_no_text_is_an_error() -> None:
    with pytest.raises(paging.Elsewhere, match="no URL"):
        following(rest(paging={"by": "url", "field": "next"}), {"next": 5})


def test_a_page_token_is_a_parameter_beside_the_cursor() -> None:
    options = rest(
        paging={"by": "token", "field": "meta.next", "parameter": "page_token"},
        cursor={"by": "id", "parameter": "since"},
    )
    found = following(options, {"meta": {"next": "p2"}})

    assert f"{URL}&since=95&page_token=p2" == url(options, found, cursor=100)
    assert following(options, {"meta": {"next": ""}}) is None


def test_numbered_pages_go_on_until_one_is_empty() -> None:
    options = rest(paging={"by": "page", "first": 0})

    assert f"{URL}&page=0" == url(options)
    assert {"page": 1} == following(options)
    assert {"page": 2} == following(options, next={"page": 1})
    assert f"{URL}&page=2" == url(options, {"page": 2})
    assert following(options, count=0, next={"page": 2}) is None


def test_offsets_count_what_was_read() -> None:
    options = rest(paging={"by": "offset", "parameter": "skip"})

    assert {"offset": 2} == following(options)
    assert {"offset": 5} == following(options, count=3, next={"offset": 2})
    assert f"{URL}&skip=5" == url(options, {"offset": 5})
    assert following(options, count=0, next={"offset": 5}) is None


def test_paging_by_cursor_asks_from_the_newest_record_until_it_is_the_same() -> None:
    options = rest(cursor={"by": "id", "parameter": "since"}, paging={"by": "cursor"})

    assert {"from": 1} == following(options)
    assert f"{URL}&since=1" == url(options, {"from": 1}, cursor=100)
    assert following(options, next={"from": 1}) is None
    assert following(options, count=0) is None


def test_a_token_cursor_goes_on_while_it_moves_and_records_come() -> None:
    options = rest(cursor={"by": "token", "field": "next", "parameter": "after"})

    assert {"more": True} == following(options, {"next": "t2"}, token="t1")
    assert following(options, {"next": "t1"}, token="t1") is None
    assert following(options, {"next": "t2"}, token="t1", count=0) is None
    assert following(options, {}, token="t1") is None


@pytest.mark.parametrize(
    ("by", "fitting"),
    [
        ({"by": "link"}, {"url": {}}),
        ({"by": "url", "field": "x"}, {"url": {}}),
        ({"by": "token", "field": "x", "parameter": "y"}, {"token": "a"}),
        ({"by": "page"}, {"page": 2}),
        ({"by": "offset"}, {"offset": 2}),
        ({"by": "none"}, None),
    ],
)
def test_a_page_of_another_way_of_paging_fits_not(by: dict[str, Any], fitting: Any) -> None:
    options = rest(paging=by)
    everything = [{"url": {}}, {"token": "a"}, {"page": 2}, {"offset": 2}, {"from": 3}, {"more": True}, 7, "x"]

    assert [one for one in everything if one == fitting] == [one for one in everything if paging.fits(options, one)]
