"""What is called as a step's function: through partials, methods and objects with `__call__`. Used by jobs and values.

An author may give a function that is made anew for each run, and that holds what the run has. So nothing is kept of a
function beyond its call unless it is one that no other function makes, of which a program has as many as it has code.
"""

import functools
import inspect
from collections.abc import Callable
from functools import lru_cache
from types import FunctionType, MethodType
from typing import Any, Final

from headgate.filters import is_async

IDEMPOTENCY: Final = "idempotency_key"
_LOCAL: Final = "<locals>"
_MOST_WRAPPED: Final = 100


def function_of(given: Callable[..., Any]) -> FunctionType | None:
    """Return the function that a callable calls, None where it is built in.

    Attributes alone say nothing: a mock or a proxy has any that it is asked for.
    """
    one: Any = given
    while not isinstance(one, FunctionType):
        if isinstance(one, functools.partial):
            one = one.func
        elif isinstance(one, MethodType):
            one = one.__func__
        else:
            call = type(one).__call__
            return call if isinstance(call, FunctionType) else None
    return one


def may_be_kept(function: object) -> bool:
    """Whether to remember a function keeps nothing alive that would be gone otherwise.

    One that is made anew for each run may hold what is the run's: by its closure, or by a default.
    """
    if type(function) is not FunctionType or function.__closure__ is not None:
        return False
    return _LOCAL not in function.__code__.co_qualname


def unwrapped(function: Callable[..., Any]) -> Any:
    """Return what a decorated function says that it wraps, as `inspect.unwrap`, or itself where that has no end."""
    try:
        return inspect.unwrap(function)
    except ValueError:
        return function


def traits_of(fn: Callable[..., Any]) -> tuple[bool, inspect.Signature | None]:
    """Return whether `fn` is async, and its signature if it has a parameter `idempotency_key`."""
    if may_be_kept(fn):
        return _kept_traits(fn)
    if type(fn) is MethodType and may_be_kept(fn.__func__):
        return _kept_traits_of_method(fn.__func__)
    return _traits(fn)


def _traits(fn: Callable[..., Any]) -> tuple[bool, inspect.Signature | None]:
    if not _may_take_key(fn):
        return is_async(fn), None
    try:
        signature = inspect.signature(fn)  # 30 us
    except (TypeError, ValueError):
        return is_async(fn), None
    return is_async(fn), signature if IDEMPOTENCY in signature.parameters else None


_kept_traits = lru_cache(maxsize=1024)(_traits)


@lru_cache(maxsize=1024)
def _kept_traits_of_method(function: FunctionType) -> tuple[bool, inspect.Signature | None]:
    return _traits(MethodType(function, function))  # whatever it is bound to


def _may_take_key(fn: Callable[..., Any]) -> bool:
    """Whether the function, or one that it wraps, may have a parameter of this name."""
    one: Any = function_of(fn)
    if one is None:
        return True  # a class, or what is built in: its signature says
    for _ in range(_MOST_WRAPPED):
        if not isinstance(one, FunctionType) or "__signature__" in one.__dict__:
            return True
        if IDEMPOTENCY in one.__code__.co_varnames:
            return True
        wrapped = one.__dict__.get("__wrapped__")
        if wrapped is None:
            return False
        one = function_of(wrapped)
    return True
