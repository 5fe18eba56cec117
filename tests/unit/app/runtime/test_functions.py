"""Which function is called in the end, and what of it may be remembered."""

import functools
import xmlrpc.client
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from app.runtime.functions import function_of, may_be_kept, traits_of, unwrapped


class Shop:
    def charge(self, idempotency_key: str = "") -> None: ...
    async def __call__(self) -> None: ...


def charge(order: int, idempotency_key: str = "") -> None: ...


class Charge:
    def __init__(self, order: int, idempotency_key: str = "") -> None: ...


@functools.cache
def once(order: int, idempotency_key: str = "") -> None: ...


@functools.wraps(charge)
def wrapped(*args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("given", "called"),
    [
        (charge, charge),
        (functools.partial(charge, 1), charge),
        (functools.partial(functools.partial(Shop().charge), idempotency_key="x"), Shop.charge),
        (Shop(), Shop.__call__),
        (wrapped, wrapped),
        (int, None),
        (len, None),
    ],
)
def test_a_function_is_found_through_whatever_calls_it(given: Any, called: Any) -> None:
    assert function_of(given) is called


def test_what_has_any_attribute_that_it_is_asked_for_is_looked_through_once() -> None:
    for given in (Mock(), xmlrpc.client.ServerProxy("http://localhost:1").charge):
        assert function_of(given) is type(given).__call__
        assert traits_of(given) == (False, None)


def test_functions_with_a_closure_and_what_holds_an_object_are_not_kept() -> None:
    def inner() -> Callable[[], None]:
        return lambda: charge(number)

    def with_default(number: int = 1) -> None: ...

    number = 1
    assert may_be_kept(charge)
    assert not any(map(may_be_kept, (inner(), with_default, functools.partial(charge, 1), Shop().charge, Shop())))


def test_what_says_that_it_wraps_something_without_an_end_counts_as_itself() -> None:
    class Endless:
        @property
        def __wrapped__(self) -> "Endless":
            return Endless()

    def function() -> None: ...

    function.__wrapped__ = Endless()  # type: ignore[attr-defined]
    assert unwrapped(function) is function
    assert unwrapped(wrapped) is charge


@pytest.mark.parametrize(
    ("fn", "is_async", "takes_key"),
    [
        (charge, False, True),
        (wrapped, False, True),
        (functools.partial(charge, 1), False, True),
        (Shop().charge, False, True),
        (Charge, False, True),
        (once, False, True),
        (Shop(), True, False),
        (print, False, False),
        (test_functions_with_a_closure_and_what_holds_an_object_are_not_kept, False, False),
    ],
)
def test_it_is_known_whether_a_function_is_async_and_takes_an_idempotency_key(
    fn: Any, is_async: bool, takes_key: bool
) -> None:
    found, signature = traits_of(fn)
    assert (found, signature is not None) == (is_async, takes_key)
