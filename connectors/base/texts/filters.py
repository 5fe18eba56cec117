"""Which events of a source are published: a mapping of field paths to what they must be. All of it has to hold.

    filter:
      type: [message_create, message_update]      one of several
      data.author.bot: {not: true}                 a missing field is never equal to anything
      data.price: {gte: 10, lt: 100}               numbers
      data.text: {prefix: "!", contains: help}     texts
      data.thread: {exists: false}
      any: [{data.a: 1}, {data.b: 2}]              one of several filters

A comparison that makes no sense (a number asked of a text) is an error and not "no": its event becomes a dead letter.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from connectors.base.texts.templates import MISSING, at

MOST_CONDITIONS: Final = 200
_DEEPEST: Final = 8


class FilterError(ValueError):
    """A filter is none: the words say where."""


class FilterFailed(Exception):
    """A filter could not be applied to an event."""


Test = Callable[[Any, str], bool]


class Filter:
    """A filter, checked. Raises FilterError."""

    def __init__(self, conditions: Mapping[str, Any]) -> None:
        self._conditions = conditions
        _check(conditions, "/filter", _DEEPEST, [0])

    def takes(self, scope: Mapping[str, Any]) -> bool:
        """Whether an event (`id, type, key, data, source`) passes. Raises FilterFailed."""
        return _holds(self._conditions, scope)


def _check(conditions: Any, where: str, depth: int, count: list[int]) -> None:
    if not isinstance(conditions, Mapping):
        raise FilterError(f"{where} has to be an object of field paths")
    if depth == 0:
        raise FilterError(f"{where} is nested too deep; {_DEEPEST} levels are allowed")
    for path, wanted in conditions.items():
        count[0] += 1
        if count[0] > MOST_CONDITIONS:
            raise FilterError(f"/filter has more than {MOST_CONDITIONS} conditions")
        here = f"{where}/{path}"
        if path == "any":
            if not isinstance(wanted, list) or not wanted:
                raise FilterError(f"{here} has to be a list of filters")
            for number, one in enumerate(wanted):
                _check(one, f"{here}/{number}", depth - 1, count)
        elif not isinstance(path, str) or path.split(".")[0] not in {"id", "type", "key", "data", "source"}:
            raise FilterError(f"{here} is no field of an event; paths begin with id, type, key, data or source")
        else:
            _check_wanted(wanted, here, depth - 1, count)


def _check_wanted(wanted: Any, where: str, depth: int, count: list[int]) -> None:
    if depth == 0:
        raise FilterError(f"{where} is nested too deep; {_DEEPEST} levels are allowed")
    if isinstance(wanted, list):
        count[0] += len(wanted)
        for one in wanted:
            _check_wanted(one, where, depth - 1, count)
    elif isinstance(wanted, Mapping):
        if not wanted:
            raise FilterError(f"{where} is empty; it needs one of {', '.join(OPERATORS)}")
        for name, operand in wanted.items():
            if name not in OPERATORS:
                raise FilterError(f"{where}/{name} is not known; there are {', '.join(OPERATORS)}")
            if name == "not":
                _check_wanted(operand, f"{where}/not", depth - 1, count)
            elif not OPERATORS[name][0](operand):
                raise FilterError(f"{where}/{name} cannot be {operand!r}")
    elif not (wanted is None or isinstance(wanted, str | int | float)):
        raise FilterError(f"{where} has to be a text, a number, true, false, null, a list of these or an object")


def _holds(conditions: Mapping[str, Any], scope: Mapping[str, Any]) -> bool:
    for path, wanted in conditions.items():
        if path == "any":
            if not any(_holds(one, scope) for one in wanted):
                return False
        elif not _meets(at(scope, path), wanted, path):
            return False
    return True


def _meets(value: Any, wanted: Any, path: str) -> bool:
    if isinstance(wanted, list):
        return any(_meets(value, one, path) for one in wanted)
    if isinstance(wanted, Mapping):
        return all(_applies(name, value, operand, path) for name, operand in wanted.items())
    return _equal(value, wanted)


def _equal(value: Any, wanted: Any) -> bool:
    # True is 1 in Python, and is not in JSON.
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _applies(name: str, value: Any, operand: Any, path: str) -> bool:
    if name == "not":
        return not _meets(value, operand, path)
    if name == "exists":
        return (value is not MISSING) is bool(operand)
    if value is MISSING or value is None:
        return False
    _, kinds, apply = OPERATORS[name]
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise FilterFailed(f"{name} cannot be asked of {path}, which is {_named(value)} in this event")
    return bool(apply(value, operand))


def _named(value: Any) -> str:
    names = {
        bool: "true or false",
        str: "a text",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def _is_number(operand: Any) -> bool:
    return isinstance(operand, int | float) and not isinstance(operand, bool)


def _is_text(operand: Any) -> bool:
    return isinstance(operand, str)


def _contains(value: Any, operand: Any) -> bool:
    if isinstance(value, list):
        return any(_equal(one, operand) for one in value)
    return isinstance(operand, str) and operand in value


def _decided_before(_value: Any, _operand: Any) -> bool:
    raise AssertionError("missing values are decided about before the type of a value matters")


_NUMBERS: Final = (int, float)
_Row = tuple[Callable[[Any], bool], tuple[type, ...], Callable[[Any, Any], bool]]
OPERATORS: Final[Mapping[str, _Row]] = {
    "gt": (_is_number, _NUMBERS, lambda value, operand: value > operand),
    "gte": (_is_number, _NUMBERS, lambda value, operand: value >= operand),
    "lt": (_is_number, _NUMBERS, lambda value, operand: value < operand),
    "lte": (_is_number, _NUMBERS, lambda value, operand: value <= operand),
    "prefix": (_is_text, (str,), lambda value, operand: value.startswith(operand)),
    "suffix": (_is_text, (str,), lambda value, operand: value.endswith(operand)),
    "contains": (lambda operand: isinstance(operand, str | int | float), (str, list), _contains),
    "exists": (lambda operand: isinstance(operand, bool), (), _decided_before),
    "not": (lambda _operand: True, (), _decided_before),
}
"""name -> which operands it takes, of which values it can be asked, and the question."""
