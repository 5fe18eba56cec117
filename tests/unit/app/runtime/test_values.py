"""What a step returned comes back as what it was, or the step says why it cannot."""

import functools
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, TypeVar
from uuid import UUID

import orjson
import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, SecretStr, computed_field, create_model
from typing_extensions import TypedDict

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
    assert there_and_back(plain, {"a": {3}}) == {"a": [3]}


def test_a_class_is_found_in_the_module_or_the_closure_of_the_workflow_as_well() -> None:
    class Local(BaseModel):
        a: int

    def by(ctx: Any) -> Any:
        return Local

    assert there_and_back(int, Local(a=1), by) == Local(a=1)
    with pytest.raises(NotStorable, match=r"Local, which is neither a name in .* annotate int\(...\) -> Local$"):
        there_and_back(int, Local(a=1))


def test_a_class_that_adds_nothing_to_the_annotated_one_comes_back_as_that() -> None:
    def fn() -> Order:
        raise NotImplementedError

    class OfALibrary(Order):
        """No module that the function or its workflow has names it."""

    class WithMore(Order):
        more: int = 0

    assert there_and_back(fn, OfALibrary(total=Decimal(1))) == Order(total=Decimal(1))
    with pytest.raises(NotStorable, match="WithMore, which is neither a name in"):
        there_and_back(fn, WithMore(total=Decimal(1), more=2))


class Base(BaseModel):
    a: int


class Derived(Base):
    b: int


@dataclass
class Plain:
    a: int


@dataclass
class More(Plain):
    b: int = 0


class Aliased(BaseModel):
    total: int = Field(alias="totalAmount")


class Odd(BaseModel):
    """Writes what it does not read."""

    model_config = ConfigDict(extra="forbid")
    a: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def twice(self) -> int:
        return 2 * self.a


@dataclass(slots=True)
class Slotted:
    base: Base


T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    items: list[T]


class Alike(BaseModel):
    a: int


class Renamed(Base): ...


class Hidden(BaseModel):
    b: int = Field(default=0, exclude=True)


class Loose(BaseModel):
    some: Any


class Defaulted(BaseModel):
    total: int = Field(default=0, alias="totalAmount")


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Color(Enum):
    BLUE = "b"


class Typed(TypedDict):
    a: Base


class Point(NamedTuple):
    x: int
    base: Base


class Root(RootModel[list[Base]]): ...


@dataclass(frozen=True)
class Frozen:
    a: int


@dataclass
class Frame:
    line: More | Plain
    when: datetime


class ManyKinds(BaseModel):
    color: Color
    at: datetime | str
    number: Decimal
    id: UUID | str
    span: timedelta
    path: Path
    texts: set[str]
    pair: tuple[int, str]
    by_number: dict[int, Base]
    maybe: Base | None
    page: Page[Base]
    typed: Typed
    point: Point
    root: Root
    pet: Cat | Dog = Field(discriminator="kind")
    frozen: frozenset[Frozen]
    queue: deque[Base]
    some: Any


def nested() -> dict[str, Slotted]: ...  # type: ignore[empty-body]
def page() -> Page: ...  # type: ignore[empty-body,type-arg]
def base() -> Base: ...  # type: ignore[empty-body]
def bases() -> list[Base]: ...  # type: ignore[empty-body]
def plain_class() -> Plain: ...  # type: ignore[empty-body]
def aliased() -> Aliased: ...  # type: ignore[empty-body]
def odd() -> Odd: ...  # type: ignore[empty-body]
def number() -> float: ...  # type: ignore[empty-body]
def numbers() -> list[float]: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("fn", "value"),
    [
        (base, Derived(a=1, b=2)),
        (plain_class, More(1, 2)),
        (aliased, Aliased(totalAmount=3)),
        (plain, Aliased(totalAmount=3)),
        (bases, [Base(a=1)]),
        (order, {"total": "no number"}),
    ],
)
def test_no_field_of_a_result_is_lost(fn: Any, value: Any) -> None:
    found = there_and_back(fn, value)

    assert found == value
    assert type(found) is type(value)


def test_what_fits_the_annotation_comes_back_as_it_says() -> None:
    assert there_and_back(page, Page[int](items=[1])) == Page(items=[1])
    assert there_and_back(order, {"total": 1}) == Order(total=Decimal(1))


@pytest.mark.parametrize(
    ("fn", "value", "words"),
    [
        (
            bases,
            [Base(a=1), Derived(a=1, b=2)],
            "read back as what bases says it returns, has a Derived at /1 that would come back as a Base; let the ",
        ),
        (obj, {"x": 1, "headgate": float("nan")}, None),
        (number, float("inf"), "could not be read back as what number says it returns: "),
        (nested, {"one": Slotted(Derived(a=1, b=2))}, r"read back as .*, has a Derived at /one/base that would "),
        (numbers, [1.0, float("nan")], "could not be read back as what numbers says it returns: /1: "),
        (odd, Odd(a=1), "could not be read back as what odd says it returns: /twice: "),
        (plain, Odd(a=1), "could not be read back as a Odd: /twice: "),
    ],
)
def test_what_would_come_back_as_less_is_refused(fn: Any, value: Any, words: str | None) -> None:
    if words is None:
        assert there_and_back(fn, value) == {"x": 1, "headgate": None}  # where nothing is said, JSON decides
        return
    with pytest.raises(NotStorable, match=rf"^the result of step 'a',? {words}"):
        there_and_back(fn, value)


def either() -> Base | Alike: ...  # type: ignore[empty-body]


alike = SimpleNamespace(Far=create_model("Far", a=int), Near=create_model("Near", a=int))


def foreign() -> alike.Far | alike.Near: ...  # type: ignore[name-defined]
def eithers() -> list[Base | Alike]: ...  # type: ignore[empty-body]
def model_or_dict() -> Base | dict[str, int]: ...  # type: ignore[empty-body]
def pages() -> Page[Base] | Page[Alike]: ...  # type: ignore[empty-body]
def secret() -> SecretStr: ...  # type: ignore[empty-body]
def told_apart() -> list[Annotated[Cat | Dog, Field(discriminator="kind")]]: ...  # type: ignore[empty-body]
def many_kinds() -> ManyKinds: ...  # type: ignore[empty-body]
def defaulted() -> Defaulted: ...  # type: ignore[empty-body]
def line() -> Line: ...  # type: ignore[empty-body]


def test_of_classes_that_read_alike_the_one_that_was_returned_comes_back() -> None:
    assert type(there_and_back(either, Base(a=1))) is Base
    assert type(there_and_back(either, Alike(a=1))) is Alike
    assert type(there_and_back(model_or_dict, Base(a=1))) is Base
    assert type(there_and_back(base, Renamed(a=1))) is Renamed
    assert there_and_back(told_apart, [Cat(), Dog()]) == [Cat(), Dog()]
    for page in (Page[Alike](items=[Alike(a=1)]), Page[Alike](items=[]), Page[Base](items=[Base(a=1)])):
        assert (type(there_and_back(pages, page)), there_and_back(pages, page)) == (type(page), page)


def test_a_class_is_found_among_those_that_the_annotation_names_as_well() -> None:
    assert not {"Far", "Near"} & globals().keys()

    assert type(there_and_back(foreign, alike.Near(a=1))) is alike.Near
    assert type(there_and_back(foreign, alike.Far(a=1))) is alike.Far


ONE_OF_EACH: Final[dict[str, Any]] = {
    "color": Color.BLUE,
    "at": datetime(2026, 1, 2, tzinfo=UTC),
    "number": Decimal("1.10"),
    "id": UUID(int=5),
    "span": timedelta(seconds=1.5),
    "path": Path("/x"),
    "texts": {"a", "b"},
    "pair": (1, "a"),
    "by_number": {1: Base(a=1)},
    "maybe": None,
    "page": Page[Base](items=[Base(a=1)]),
    "typed": {"a": Base(a=1)},
    "point": Point(1, Base(a=2)),
    "root": Root([Base(a=1)]),
    "pet": Dog(),
    "frozen": frozenset({Frozen(1), Frozen(2)}),
    "queue": deque([Base(a=1)]),
    "some": {"a": [1, None, {}]},
}


def test_what_is_equal_when_it_is_read_stays_as_it_is() -> None:
    found = there_and_back(many_kinds, ManyKinds(**ONE_OF_EACH))

    assert found == ManyKinds(**ONE_OF_EACH)
    assert {name: type(one) for name, one in found} == {name: type(one) for name, one in ONE_OF_EACH.items()}


def test_what_json_makes_of_other_values_in_a_model_is_no_loss() -> None:
    assert there_and_back(plain, Loose(some=(1, {"at": datetime(2026, 1, 2, tzinfo=UTC)}, {3: {4}}))).some == [
        1,
        {"at": "2026-01-02T00:00:00Z"},
        {"3": [4]},
    ]
    assert there_and_back(plain, Loose(some=float("nan"))).some is None


def test_a_field_with_a_default_that_is_read_by_its_alias_alone_keeps_what_it_had() -> None:
    assert there_and_back(defaulted, Defaulted(totalAmount=3)) == Defaulted(totalAmount=3)


def test_a_dict_that_fits_the_annotation_comes_back_as_it_says_with_the_models_in_it() -> None:
    assert there_and_back(line, {"order": Order(total=Decimal(1)), "number": 2}) == Line(Order(total=Decimal(1)), 2)
    assert there_and_back(bases, [Base(a=1), {"a": 2}]) == [Base(a=1), Base(a=2)]


@pytest.mark.parametrize(
    ("fn", "value", "says"),
    [
        (
            eithers,
            [Base(a=1), Alike(a=2)],
            (
                ", read back as what eithers says it returns, has a Alike at /1 that would come back as a Base; add a "
                "discriminator field, by which they are told apart, or annotate eithers with the class that it returns"
            ),
        ),
        (
            model_or_dict,
            {"a": 1},
            (
                ", read back as what model_or_dict says it returns, has a dict that would come back as a Base; add a "
                "discriminator field, by which they are told apart, or annotate model_or_dict with the class that it "
                "returns"
            ),
        ),
        (
            plain,
            (1, [Base(a=1)]),
            (
                ", read back as JSON, has a Base at /1/0 that would come back as a dict; annotate plain with the class "
                "that it returns, or the field that holds it with its class"
            ),
        ),
        (
            obj,
            {"a": Plain(1)},
            (
                ", read back as what obj says it returns, has a Plain at /a that would come back as a dict; annotate "
                "obj with the class that it returns, or the field that holds it with its class"
            ),
        ),
        (
            plain,
            Loose(some={"a": Base(a=1)}),
            (
                ", read back as a Loose, has a Base at /some/a that would come back as a dict; annotate plain with the "
                "class that it returns, or the field that holds it with its class"
            ),
        ),
        (
            plain,
            Loose(some=SecretStr("x")),
            (
                ", read back as a Loose, has a SecretStr at /some that would come back masked; take the secret out: "
                "what a step returns is journaled"
            ),
        ),
        (
            secret,
            SecretStr("x"),
            (
                ", read back as what secret says it returns, has a SecretStr that would come back masked; take the "
                "secret out: what a step returns is journaled"
            ),
        ),
        (
            plain,
            Hidden(b=2),
            (
                ", read back as a Hidden, would lose /b, which is excluded; return it as a field that a Hidden writes "
                "and reads"
            ),
        ),
    ],
)
def test_what_would_come_back_as_something_else_is_refused_with_its_place(fn: Any, value: Any, says: str) -> None:
    with pytest.raises(NotStorable) as raised:
        there_and_back(fn, value)

    assert str(raised.value) == WHAT + says


def test_a_model_that_holds_what_its_fields_do_not_say_is_refused_before_it_is_stored() -> None:
    wrong: Any = "no number"
    day: Any = "2026-01-02T00:00:00Z"

    with pytest.raises(NotStorable, match=r"^the result of step 'a' could not be read back as a Plain: /a: "):
        codec_of(plain_class).encode(Plain(wrong), workflow, WHAT, most_bytes=1_000)
    with pytest.raises(
        NotStorable, match=r", read back as a Frame, has a Plain at /line that would come back as a More"
    ):
        codec_of(plain).encode(Frame(Plain(1), day), workflow, WHAT, most_bytes=1_000)


@dataclass
class Owed:
    wei: int


class Wei(BaseModel):
    wei: int


def any_of_them() -> list[Wei]: ...  # type: ignore[empty-body]
def marked_itself() -> dict[str, Wei | int]: ...  # type: ignore[empty-body]


@pytest.mark.parametrize("number", [2 * 10**19, 2**80, -(2**80)])
def test_a_number_that_json_readers_make_a_float_of_comes_back_in_a_class(number: int) -> None:
    for fn, value in [
        (plain, Wei(wei=number)),
        (plain, Owed(number)),
        (any_of_them, [Wei(wei=number)]),
        (any_of_them, Wei(wei=number)),
        (marked_itself, {"headgate:type": number, "value": Wei(wei=number)}),
    ]:
        found = there_and_back(fn, value)
        assert (found, type(found)) == (value, type(value))


def test_a_class_whose_name_has_quotes_is_found_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = 'Say"s","value":\\'
    made = create_model(name, a=int)
    monkeypatch.setitem(globals(), name, made)

    assert there_and_back(plain, made(a=1)) == made(a=1)


def test_what_was_stored_before_classes_were_compared_is_read_as_it_was() -> None:
    assert codec_of(either).decode(b'{"a":1}', workflow, WHAT) == Base(a=1)
    assert codec_of(plain).decode(b'[{"a":1}]', workflow, WHAT) == [{"a": 1}]
    assert codec_of(plain).decode(b'{"headgate:type":"Hidden","value":{}}', workflow, WHAT) == Hidden()


def test_a_model_that_would_write_what_is_no_json_is_refused() -> None:
    class Loose(BaseModel):
        model_config = ConfigDict(ser_json_inf_nan="constants")
        number: float

    def loose() -> Loose: ...  # type: ignore[empty-body]

    assert there_and_back(loose, Loose(number=1.5)) == Loose(number=1.5)
    with pytest.raises(NotStorable, match=r"give what JSON can hold"):
        there_and_back(loose, Loose(number=float("inf")))


def test_a_result_that_nests_too_deep_is_refused() -> None:
    deep: Any = []
    for _ in range(220):
        deep = [deep]
    with pytest.raises(NotStorable, match=r"nests deeper|recursion limit"):
        there_and_back(obj, {"a": deep})


def test_what_no_longer_fits_its_class_or_annotation_is_told() -> None:
    class Grown(BaseModel):
        total: Decimal
        currency: str

    def by(ctx: Any) -> Any:
        return Grown

    def now_grown() -> Grown: ...  # type: ignore[empty-body]

    written = codec_of(order).encode(Order(total=Decimal(1)), workflow, WHAT, most_bytes=1_000)
    with pytest.raises(NotStorable, match=r"^the result of step 'a' is recorded, and does not fit .*now_grown says it"):
        codec_of(now_grown).decode(written, workflow, WHAT)

    marked = codec_of(plain).encode(Order(total=Decimal(1)), workflow, WHAT, most_bytes=1_000)
    gone = marked.replace(b'"Order"', b'"Grown"')
    with pytest.raises(
        NotStorable, match=r"is recorded as a Grown, and does not fit it any more: /currency: Field req"
    ):
        codec_of(plain).decode(gone, by, WHAT)


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
