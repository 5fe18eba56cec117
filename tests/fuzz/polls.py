"""Answers of APIs that are polled: bodies, pages, tokens, headers Link, RateLimit and Retry-After; values of tables."""

import datetime as dt
import uuid
from collections.abc import Mapping
from datetime import UTC
from decimal import Decimal
from typing import Any, Final

import orjson

from connectors import poll
from connectors.base.contract import UNMOVED, Refused
from connectors.base.reach import targets
from connectors.poll import budget, paging, progress, sql, times
from connectors.poll.config import Sql
from connectors.poll.paging import Elsewhere
from tests.fuzz.mutation import Mutator
from tests.fuzz.standing import NOW, Answering, FuzzSite, outcome, read_out
from tests.fuzz.targets import Target, landed, named, stored

# ---- answers ---------------------------------------------------------------------------------------------------------

URL: Final = "https://api.example/v1/orders?per_page=100&api_key=secret"
ANSWERS: Final[tuple[Any, ...]] = (
    [
        {"id": 1, "updated_at": "2026-06-01T12:00:00Z", "name": "a"},
        {"id": 2, "updated_at": "2026-06-01T12:00:01.5+02:00", "name": "b", "lines": [{"sku": "x"}]},
        {"id": "01J0A", "updated_at": 1_780_000_000, "name": None},
    ],
    {
        "orders": [{"id": 3, "updated_at": 1_780_000_000_000}, {"id": 4.5}],
        "next": "https://api.example/v1/orders?page=2&per_page=100&api_key=secret",
        "cursor": {"next": "t-2"},
    },
    {"id": 7, "name": "one"},
    [],
    None,
)
CURSORS: Final[tuple[Mapping[str, Any], ...]] = (
    {"by": "content"},
    {"by": "id", "field": "id", "parameter": "after", "overlap": 1},
    {"by": "timestamp", "field": "updated_at", "parameter": "since", "overlap": "2m"},
    {"by": "timestamp", "field": "updated_at", "format": "seconds"},
    {"by": "timestamp", "field": "updated_at", "format": "milliseconds"},
    {"by": "token", "field": "cursor.next", "parameter": "token"},
)
PAGINGS: Final[tuple[Mapping[str, Any], ...]] = (
    {"by": "none"},
    {"by": "link"},
    {"by": "url", "field": "next"},
    {"by": "token", "field": "cursor.next", "parameter": "page_token"},
    {"by": "page"},
    {"by": "offset", "parameter": "skip"},
    {"by": "cursor"},
)


def _configs() -> list[poll.Config]:
    found = []
    for cursor in CURSORS:
        for pages in PAGINGS:
            for more in (
                {},
                {"items": "orders", "id": "id", "version": "updated_at"},
                {"id": "name", "newest_first": True},
            ):
                options = {"url": URL, "cursor": cursor, "paging": pages, **more}
                try:
                    found.append(poll.Config.model_validate({"interval": 1, "rest": options, "max_pages": 2}))
                except ValueError:
                    continue  # not every cursor goes with every way of paging
    return found


CONFIGS: Final = tuple(_configs())
LINKS: Final = (
    '<https://api.example/v1/orders?page=2>; rel="next", <https://api.example/v1/orders?page=9>; rel="last"',
    "</v1/orders?page=2&api_key=secret>; rel=next",
    '<https://u:p@api.example/v1/orders/x?cursor=abc#f>; title="a, b; rel=prev"; rel="prev next"',
    "<https://b.example/>; rel=next",
    "<http://[>; rel=next",
    "<>; rel=next",
)
HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Link": LINKS,
    "ETag": ('"abc"', 'W/"x"', "", "é"),
    "Last-Modified": ("Mon, 01 Jun 2026 12:00:00 GMT",),
    "Retry-After": ("5", "Mon, 01 Jun 2026 12:00:30 GMT", "1e5"),
    "RateLimit": ('"default";r=0;t=30', "limit=10, remaining=0, reset=30", "r=1"),
    "RateLimit-Remaining": ("0", "1", "0.5"),
    "RateLimit-Reset": ("30", "1780000000", "1780000000000", "-1"),
    "X-RateLimit-Remaining": ("0", "00"),
    "X-RateLimit-Reset": ("1780315230", "9" * 15),
}
STATUSES: Final = (*[200] * 20, 204, 304, 400, 401, 403, 404, 410, 422, 429, 500, 503, 299)

Answers = tuple[int, list[tuple[int, dict[str, str], bytes]], Any]


def answers(draw: Mutator) -> Answers:
    def one() -> tuple[int, dict[str, str], bytes]:
        headers = {name: draw.text(HEADERS[name], most=2) for name in HEADERS if draw.happens(0.2)}
        return draw.pick(STATUSES), headers, draw.json(ANSWERS, broken=0.1)

    return draw.below(len(CONFIGS)), [one() for _ in range(3)], None


def check_answers(given: Answers) -> str:
    number, said, position = given
    config, http = CONFIGS[number], Answering(*said)
    site = FuzzSite(http, position=position)
    items, end = read_out(poll.Source(config, site))
    for _, url, headers in http.asked:
        assert url.startswith(("https://api.example/", "https://api.example?")), url
        targets.headers_of(headers)
        targets.target_of(url, {"https"})
    word = outcome(items, end)
    for item in items:
        position = position if item.position is UNMOVED else item.position
    if position is not None:
        again = FuzzSite(Answering(*said), position=orjson.loads(orjson.dumps(position)))
        outcome(*read_out(poll.Source(config, again)))
        assert "reset" not in again.notes
    return word


# ---- headers ---------------------------------------------------------------------------------------------------------


def link(draw: Mutator) -> str:
    return draw.text(
        LINKS,
        ("<", ">", ";", ",", '"', "rel=next", 'rel="', " ", "\t", "=", "?", "&", "#", "@", "//", "\x00", "\ud800", "ü"),
    )


def check_link(given: str) -> str:
    found = paging.next_link(given)
    if found is None:
        return "none"
    try:
        kept = paging.stored(found, asked=URL, configured=URL)
    except Elsewhere as error:
        return named(error)
    stored(kept)
    assert ["api_key", "secret"] not in kept["query"]
    return "next"


def limits(draw: Mutator) -> dict[str, str]:
    names = [name for name in HEADERS if "Rate" in name]
    return {draw.pick(names): draw.text(HEADERS[draw.pick(names)]) for _ in range(1 + draw.below(4))}


def check_limits(given: dict[str, str]) -> str:
    wait = budget.wait_of(given, NOW)
    if wait is None:
        return "none"
    assert 0 <= wait <= budget.MOST_WAIT_SECONDS
    return "waits" if wait else "now"


# ---- tables ----------------------------------------------------------------------------------------------------------

TABLE: Final = tuple(
    Sql.model_validate({"database": "sqlite:///x", "table": "t", "column": "c", **more})
    for more in ({}, {"id": "i", "limit": 2}, {"id": "c", "limit": 1})
)
VALUES: Final[tuple[Any, ...]] = (
    *(0, 1, 2**63 - 1, -(2**63), True, None, 1.0, 1.5, float("nan"), float("inf"), -float("inf"), 1e300),
    *(
        Decimal(1),
        Decimal("1.5"),
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal("1E+400"),
        Decimal("-0"),
    ),
    *(dt.datetime(2026, 6, 1, tzinfo=UTC), dt.datetime(2026, 6, 1), dt.datetime.min, dt.datetime.max, dt.date(1, 1, 1)),  # noqa: DTZ001, DTZ901
    *(
        dt.date(9999, 12, 31),
        dt.time(1, 2),
        dt.timedelta(days=-1),
        b"\xff",
        bytearray(b"x"),
        memoryview(b"y"),
        "a",
        "é" * 500,
    ),
    *("\x00", "", uuid.UUID(int=7), [1, [b"x"]], {"a": {1: b"x"}}, (1, 2), {3}),
)


def rows(draw: Mutator) -> tuple[int, bool, list[dict[str, Any]]]:
    def row() -> dict[str, Any]:
        value = draw.pick((1, 2, 3, "a")) if draw.happens(0.6) else draw.pick(VALUES)
        return {"c": value, "i": draw.below(5) if draw.happens(0.7) else draw.pick(VALUES), "x": draw.pick(VALUES)}

    return draw.below(len(TABLE)), draw.happens(0.5), [row() for _ in range(draw.below(4))]


def check_rows(given: tuple[int, bool, list[dict[str, Any]]]) -> str:
    number, is_time, found = given
    options = TABLE[number]
    try:
        made = sql.records(found, options, is_time=is_time)
        following = sql.after(found, made, options) if made else None
    except Refused as error:
        return named(error)
    assert following is None or sql.fits(following, options)
    policy = sql.policy(poll.Config.model_validate({"sql": options.model_dump()}), options)
    page = progress.Page(records=made, next=following)
    taken = progress.take(progress.Progress(tag=policy.tag), page, policy)
    if all(one.value is None or isinstance(one.value, int | str) for one in made):
        stored(taken.progress.position())
    source = poll.Source(CONFIGS[0], FuzzSite())
    ends = {landed(source._item(one, policy)) for one in taken.new}
    return "no rows" if not ends else "event" if ends == {"event"} else min(ends - {"event"})


def moment(draw: Mutator) -> tuple[Any, str]:
    seeds = ("2026-06-01T12:00:00Z", "2026-06-01", "1780000000", "1780000000.5", 1_780_000_000, 1.5, "20260601T120000")
    return draw.value(seeds), draw.pick(("iso", "seconds", "milliseconds"))


def check_moment(given: tuple[Any, str]) -> str:
    raw, form = given
    try:
        value = times.parse(raw, form)
    except ValueError as error:
        str(error)
        return "refused"
    times.text(value, form)
    return "beyond" if times.moment(value) is None else "time"


TARGETS: Final = (
    Target(name="poll-answers", make=answers, check=check_answers),
    Target(name="poll-links", make=link, check=check_link),
    Target(name="poll-rate-limits", make=limits, check=check_limits),
    Target(name="poll-rows", make=rows, check=check_rows),
    Target(name="poll-times", make=moment, check=check_moment),
)
