"""What a step returned comes back as what it was, or the step says why it cannot."""

import functools
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from app.runtime import values
from app.runtime.values import NotStorable, codec_of

WHAT = "the result of step 'a'"


class Order(BaseModel):
    total: Decimal
    due: date | None = None


@dataclass
class Line:
    order: Order
    number: int = 1


class Outer:
    class Inner(BaseModel):
        a: int


async def workflow(ctx: Any) -> None: ...


def there_and_back(fn: Any, value: Any, by: Any = workflow) -> Any:
    codec = codec_of(fn)
    written = codec.encode(value, by, WHAT, most_bytes=1_000)
    orjson.loads(written)
    return codec.decode(written, by, WHAT)


def plain() -> Any: ...
def order() -> Order: ...  # type: ignore[empty-body]
def orders() -> "list[Order]": ...  # type: ignore[empty-body]
def pair() -> tuple[int, set[str]]: ...  # type: ignore[empty-body]
def maybe() -> Order | None: ...
def obj() -> dict[str, Any]: ...  # type: ignore[empty-body]
def broken() -> "NoSuchName": ...  # type: ignore[name-defined] # noqa: F821


@pytest.mark.parametrize(
    ("fn", "value"),
    [
        (plain, None),
        (plain, {"a": [1, 2.5, "x", None, True]}),
        (plain, {"headgate:type": "Order", "value": 1}),
        (plain, {"headgate:type": None}),
        (obj, {"headgate:type": "Order", "value": 1}),
        (plain, Order(total=Decimal("1.10"), due=date(2026, 1, 2))),
        (plain, Line(Order(total=Decimal(2)))),
        (plain, Outer.Inner(a=1)),
        (order, Order(total=Decimal("0.30"))),
        (orders, [Order(total=Decimal(1)), Order(total=Decimal(2))]),
        (pair, (1, {"a", "b"})),
        (maybe, None),
        (maybe, Order(total=Decimal(1))),
        (obj, Line(Order(total=Decimal(2)))),
        (order, "no order at all"),
        (broken, 7),
        (functools.partial(order), Order(total=Decimal(1))),
        (int, 5),
    ],
)
def test_a_value_comes_back_as_what_it_was(fn: Any, value: Any) -> None:
    found = there_and_back(fn, value)

    assert found == value
    assert type(found) is type(value)


def test_what_json_alone_would_lose_comes_back_as_json_has_it() -> None:
    assert there_and_back(plain, (1, datetime(2026, 1, 2, tzinfo=UTC))) == [1, "2026-01-02T00:00:00+00:00"]
    assert there_and_back(plain, [Order(total=Decimal(1))]) == [{"total": "1", "due": None}]


def test_a_class_is_found_in_the_module_or_the_closure_of_the_workflow_as_well() -> None:
    class Local(BaseModel):
        a: int

    def by(ctx: Any) -> Any:
        return Local

    assert there_and_back(int, Local(a=1), by) == Local(a=1)
    with pytest.raises(NotStorable, match=r"Local, which is neither a name in .* annotate int\(...\) -> Local$"):
        there_and_back(int, Local(a=1))


def test_a_class_that_is_gone_on_replay_is_told() -> None:
    written = codec_of(plain).encode(Line(Order(total=Decimal(1))), workflow, WHAT, most_bytes=1_000)
    gone = written.replace(b'"Line"', b'"os"')

    with pytest.raises(NotStorable, match=r"is recorded as a os, and there is no such class .* put it back"):
        codec_of(plain).decode(gone, workflow, WHAT)


@pytest.mark.parametrize("value", [object(), {1: object()}, "\ud800", 2**80])
def test_what_no_json_can_hold_is_refused(value: Any) -> None:
    with pytest.raises(
        NotStorable, match=r"^the result of step 'a' cannot be written as JSON: .*; give what JSON can hold"
    ):
        there_and_back(plain, value)


@pytest.mark.parametrize("fn", [plain, pair, order])
def test_what_is_too_large_is_refused(fn: Any) -> None:
    value = {pair: (1, {"x" * 999}), order: Order(total=Decimal("1" * 999))}.get(fn, "x" * 999)
    with pytest.raises(NotStorable, match=r"bytes, more than the 1000 of limits.result_bytes; keep it elsewhere"):
        there_and_back(fn, value)


def test_uuid_and_random_follow_from_run_and_key_alone() -> None:
    assert values.uuid_of("charge:1", "a") == "8892bc2b-2ce7-88a2-8d87-7cfa4f356592"
    assert values.uuid_of("charge:1", "a") != values.uuid_of("charge:1", "b")
    drawn = [values.random_of("charge:1", str(n)) for n in range(1_000)]
    assert drawn == [values.random_of("charge:1", str(n)) for n in range(1_000)]
    assert 0 <= min(drawn) < 0.05 < 0.95 < max(drawn) < 1
    assert values.time_of(1_769_860_800_001) == datetime(2026, 1, 31, 12, 0, 0, 1_000, UTC)
