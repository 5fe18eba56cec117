import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, ConfigDict

from headgate import DefinitionError, Payload, Reject, workflow
from topics.codec import decode
from topics.envelope import Envelope


class Line(BaseModel):
    sku: str
    price: float


class Order(BaseModel):
    id: int
    lines: list[Line]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    at: dt.datetime
    n: int


@dataclass
class Point:
    x: int


def event(data: Any, event_id: str = "o-1") -> Envelope:
    value = orjson.dumps({"topic": "orders/created", "data": data, "id": event_id})
    return decode(value, None, [], partition=3, offset=17, timestamp_ms=0, max_bytes=None)


@workflow(trigger_on_event="orders/created")
async def typed(ctx: Any, payload: Payload[Order]) -> None: ...


@workflow(trigger_on_event="orders/created")
async def as_text(ctx: Any, payload: "Payload[Order]") -> None: ...


ORDER = {"id": 1, "lines": [{"sku": "a", "price": 2}]}


@pytest.mark.parametrize("made", [typed, as_text])
def test_the_data_of_each_event_is_an_instance_of_the_model(made: Any) -> None:
    payload = made.build_payload([event(ORDER), event(ORDER, "o-2")])
    expected = Order(id=1, lines=[Line(sku="a", price=2.0)])
    assert [found["data"] for found in payload["events"]] == [expected, expected]
    assert payload["events"][1].id == "o-2"
    assert made.data_model is Order
    assert made.schema["required"] == ["id", "lines"]


@pytest.mark.parametrize(
    ("data", "pointer", "message"),
    [
        ({"id": 1, "lines": [{"sku": "a", "price": "x"}]}, "/data/lines/0/price", "Input should be a valid number"),
        ({"id": 1}, "/data/lines", "Field required"),
        ("text", "/data", "Input should be an object"),
        (None, "/data", "Input should be an object"),
    ],
)
def test_data_that_does_not_fit_is_rejected_with_pointer_and_event(data: Any, pointer: str, message: str) -> None:
    with pytest.raises(
        Reject, match=re.escape(f"event 'o-2' on 'orders/created' is no Order: {pointer}: {message}")
    ) as raised:
        typed.build_payload([event(ORDER), event(data, "o-2")])
    assert (raised.value.pointer, raised.value.event_id) == (pointer, "o-2")


def test_a_pointer_escapes_what_rfc_6901_says() -> None:
    @workflow(trigger_on_event="orders/created")
    async def numbers(ctx: Any, payload: Payload[dict[str, int]]) -> None: ...

    with pytest.raises(Reject) as raised:
        numbers.build_payload([event({"a/b~c": "x", "d": "y"})])
    assert raised.value.pointer == "/data/a~1b~0c"
    assert str(raised.value).endswith("(and 1 more)")


def test_a_strict_model_takes_what_json_can_say_and_nothing_else() -> None:
    @workflow(trigger_on_event="orders/created")
    async def strict(ctx: Any, payload: Payload[Strict]) -> None: ...

    found = strict.build_payload([event({"at": "2026-01-31T12:00:00Z", "n": 1})])["events"][0].data
    assert found == Strict(at=dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC), n=1)
    with pytest.raises(Reject, match="/data/n: Input should be a valid integer"):
        strict.build_payload([event({"at": "2026-01-31T12:00:00Z", "n": "1"})])


def test_the_event_itself_stays_as_it_was() -> None:
    envelope = event(ORDER)
    typed.build_payload([envelope])
    assert envelope.data == ORDER


def test_dataclasses_can_be_asked_for_as_well() -> None:
    @workflow(trigger_on_event="orders/created")
    def points(ctx: Any, payload: Payload[Point]) -> None: ...

    assert points.build_payload([event({"x": "5"})])["events"][0].data == Point(5)


def test_a_model_that_is_defined_in_a_function_is_found_where_the_function_uses_it() -> None:
    class Local(BaseModel):
        n: int

    @workflow(trigger_on_event="orders/created")
    def local(ctx: Any, payload: "Payload[Local]") -> int:
        return Local(n=1).n

    assert local.data_model is Local


@pytest.mark.parametrize("annotation", [Any, dict, "dict[str, Any]", "Nonsense[", Payload, Payload[Any], None])
def test_other_annotations_ask_for_nothing(annotation: Any) -> None:
    def untyped(ctx: Any, payload: Any) -> None: ...

    untyped.__annotations__["payload"] = annotation
    assert workflow(trigger_on_event="orders/created")(untyped).data_model is None


def test_a_payload_type_that_cannot_be_read_is_refused_in_words() -> None:
    def missing(ctx: Any, payload: "Payload[Missing]") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(
        DefinitionError, match=r"annotation Payload\[Missing\] cannot be read: name 'Missing' is not defined"
    ):
        workflow(missing)

    class Odd:
        pass

    def odd(ctx: Any, payload: Payload[Odd]) -> None: ...

    with pytest.raises(DefinitionError, match=r"pydantic cannot read the type in Payload\[Odd\]"):
        workflow(odd)
