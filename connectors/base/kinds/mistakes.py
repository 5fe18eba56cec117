"""What is wrong with options, in words: the place, the fact, the names there are. Never a value: it may be a secret."""

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from connectors.base.kinds import describing
from connectors.base.kinds.registry import Kind

_UNKNOWN: Final = "extra_forbidden"


def in_options(error: ValidationError, kind: Kind, *, counts: Callable[[Sequence[Any]], bool] = lambda _: True) -> str:
    """Return what is wrong with options of a kind, "" where it is nothing that counts.

    `counts` is asked with the place of each wrong value.
    """
    found = _told(error, "/options", kind.config, counts)
    return f"{found}; `headgate connectors kinds {kind.name}` describes the options" if found else ""


def in_fields(error: ValidationError, where: str, model: type[BaseModel]) -> str:
    """Return what is wrong with the fields of another model, which are at `where`."""
    return _told(error, where, model, lambda _: True)


def _told(error: ValidationError, where: str, model: type[BaseModel], counts: Callable[[Sequence[Any]], bool]) -> str:
    found = [
        one
        for one in error.errors(include_url=False, include_context=False, include_input=False)
        if one["type"] == _UNKNOWN or counts(one["loc"])
    ]
    if not found:
        return ""
    first = min(found, key=lambda one: one["type"] != _UNKNOWN)  # a misspelt name is why another one is missing
    place = where + "".join(f"/{part}" for part in first["loc"])
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{place}: {_fact(first, model)}{more}"


def _fact(one: Any, model: type[BaseModel]) -> str:
    match one["type"]:
        case "extra_forbidden":  # _UNKNOWN
            known = list(_names(model, one["loc"][:-1]))
            near = get_close_matches(str(one["loc"][-1]), known, n=1)
            if near:
                return f"there is no such field; did you mean {near[0]!r}?"
            return "there is no such field" + (f"; there are {', '.join(known)}" if known else "")
        case "missing":
            return "it is missing"
        case "value_error":
            return str(one["msg"].removeprefix("Value error, "))
        case _:
            return str(one["msg"])


def _names(model: type[BaseModel], place: Sequence[Any]) -> Iterator[str]:
    """Yield the names of the fields at a place; a number in it is one of a list."""
    outer = "".join(f"{part}." for part in place if not isinstance(part, int))
    for option in describing.options_of(model):
        name = option.name.removeprefix(outer)
        if option.name.startswith(outer) and "." not in name:
            yield name
