"""What does not come back is found wherever it is, and nothing that is the same or cannot be told."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretBytes, SecretStr

from app.runtime.losses import loss_of

T = TypeVar("T")


class A(BaseModel):
    x: Any = 0


class B(BaseModel):
    x: Any = 0


class DerivedA(A): ...


class Unread(BaseModel):
    x: int = Field(default=0, alias="a")


class Page(BaseModel, Generic[T]):
    items: Any


class Excluding(BaseModel):
    model_config = ConfigDict(extra="allow")
    kept: Any = None
    left: Any = Field(default=0, exclude=True)
    _own: Any = PrivateAttr(default=None)


@dataclass
class D:
    x: Any = 0


@dataclass
class Derived(D):
    late: Any = field(init=False, default=0)
    unequal: Any = field(compare=False, default=0)


@dataclass(eq=False)
class ByIdentity:
    x: Any = 0


@dataclass(frozen=True)
class Frozen:
    x: Any = 0


@dataclass(frozen=True)
class Other:
    x: Any = 0


@dataclass
class Stamped:
    at: Any = field(init=False, default_factory=object)


class Touchy:
    def __eq__(self, other: object) -> bool:
        raise ValueError("of no truth")

    __hash__ = None  # type: ignore[assignment]


def excluding(own: Any = None, **given: Any) -> Excluding:
    made = Excluding(**given)
    made._own = own
    return made


def late(one: Any) -> Derived:
    made = Derived()
    made.late = one
    return made


def found(value: Any, back: Any, *, typed: bool = True) -> tuple[str, str, str] | None:
    loss = loss_of(value, back, "fn", typed=typed)
    return None if loss is None else (loss.place, loss.fact, loss.remedy)


TELL = "add a discriminator field, by which they are told apart, or annotate fn with the class that it returns"
NAME = "annotate fn with the class that it returns, or the field that holds it with its class"
SECRET = "take the secret out: what a step returns is journaled"
WRITE = "let what writes it write what is read"


@pytest.mark.parametrize(
    ("value", "back", "place", "fact", "remedy"),
    [
        (A(), B(), "", "has a A that would come back as a B", TELL),
        (D(), {"x": 0}, "", "has a D that would come back as a dict", NAME),
        ([A(), B()], [A(), A()], "/1", "has a B at /1 that would come back as a A", TELL),
        ((1, A()), [1, {"x": 0}], "/1", "has a A at /1 that would come back as a dict", NAME),
        ({"a": {3: D()}}, {"a": {"3": A()}}, "/a/3", "has a D at /a/3 that would come back as a A", TELL),
        (MappingProxyType({"a": A()}), {}, "/a", "has a A at /a that would be lost", NAME),
        ([A()], [], "/0", "has a A at /0 that would be lost", NAME),
        ({Frozen(), Other()}, {Frozen()}, "", "has a Other that would be lost", NAME),
        ({Frozen()}, [{"x": 0}], "/0", "has a Frozen at /0 that would come back as a dict", NAME),
        (A(x=[DerivedA()]), A(x=[A()]), "/x/0", "has a DerivedA at /x/0 that would come back as a A", "let the anno"),
        (ByIdentity(D()), ByIdentity(A()), "/x", "has a D at /x that would come back as a A", TELL),
        ({"x": 0}, A(), "", "has a dict that would come back as a A", TELL),
        (excluding(more=B()), excluding(more=A()), "/more", "has a B at /more that would come back as a A", TELL),
        (A(x=SecretStr("a")), A(x="***"), "/x", "has a SecretStr at /x that would come back masked", SECRET),
        (SecretBytes(b"a"), SecretBytes(b"*"), "", "has a SecretBytes that would come back masked", SECRET),
        (excluding(left=SecretStr("a")), excluding(), "/left", "has a SecretStr at /left that would ", SECRET),
        (
            excluding(left=1),
            excluding(),
            "/left",
            "would lose /left, which is excluded",
            "return it as a field that a ",
        ),
        (Unread(a=1), Unread(), "/x", "would lose /x, which is written otherwise than it is read", "return it as "),
        (D(late(1)), D(late(0)), "/x/late", "would lose /x/late, which is init=False", "return it as a field that a "),
        (A(x="ab"), A(x="a"), "/x", "would come back with another /x", WRITE),
        (A(x=[1, 2]), A(x=[1]), "/x/1", "would come back with another /x/1", WRITE),
        (D("a"), D(None), "/x", "would come back with another /x", WRITE),
    ],
)
def test_a_loss_is_found_with_its_place(value: Any, back: Any, place: str, fact: str, remedy: str) -> None:
    where, what, how = found(value, back) or ("", "", "")

    assert where == place
    assert what.startswith(fact)
    assert how.startswith(remedy)


LOCK, ANOTHER = Lock(), Lock()


@pytest.mark.parametrize(
    ("value", "back"),
    [
        ([A(), D(), {"a": Frozen()}], [A(), D(), {"a": Frozen()}]),
        (ByIdentity([ByIdentity()]), ByIdentity([ByIdentity()])),
        (Page[int](items=[(1,)]), Page(items=[[1]])),
        ((1, {2}, float("nan")), [1, [2], None]),
        (" a ", "a"),
        (A(x=(1, {2: 3}, float("nan"))), A(x=[1, {"2": 3}, None])),
        (A(x=LOCK), A(x=ANOTHER)),
        (excluding(own=LOCK, left=float("nan")), excluding(own=ANOTHER, left=float("nan"))),
        (Derived(unequal=1), Derived(unequal=2)),
        (excluding(own=1), excluding()),
        (Stamped(), Stamped()),
        (A(x=Touchy()), A(x=Touchy())),
        ({Frozen((1, 2))}, {Frozen((1, 2))}),
        ({"x": Frozen(), "more": 1}, {"x": Frozen()}),
    ],
)
def test_what_is_the_same_as_far_as_one_can_tell_is_no_loss(value: Any, back: Any) -> None:
    assert found(value, back) is None


def test_a_dict_may_become_what_an_annotation_says_with_what_is_in_it() -> None:
    given: Callable[[Any], Any] = lambda inner: [{"x": inner, "more": 1}]  # noqa: E731

    assert found(given(B()), [A(x=B())], typed=False) is None
    assert found(given(B()), [A(x=A())], typed=False) == ("/0/x", "has a B at /0/x that would come back as a A", TELL)
