"""What of a value does not come back as what it was, by comparing it with what was read back. Called by `values`.

Classes of models and dataclasses count wherever they are, content within them: what an annotation or JSON makes of
other values (a tuple is a list, a time where nothing is said is text) is as documented. An author's `==` is believed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from itertools import chain, count, repeat
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

_NOTHING: Final = object()
_MADE_ALIKE: Final[tuple[Any, ...]] = (MISSING, list, dict, set)  # others may make another value each time
_BY_IDENTITY: Final[Any] = object.__eq__
_Pair = tuple[str, Any, Any, str | None]
"""A place, what is there, what came back of it, and why it did not if that is known."""


class Loss(NamedTuple):
    """A place within a value, as `/lines/0`, and what is wrong there."""

    place: str
    fact: str
    remedy: str


def loss_of(value: Any, back: Any, name: str, *, typed: bool) -> Loss | None:
    """Return the first thing that `value` loses where `back` is what was read; `name` is that of the function.

    `typed`: `value` is of the annotated type, so nothing in it is to become a model that is none.
    """
    return None if _equal(value, back) else _Search(name, typed=typed).loss(value, back, "", inside=False)


def is_model(made: type) -> bool:
    """Whether a class is a model or a dataclass."""
    return _names(made) is not None


def is_as_good(value: Any, back: Any) -> bool:
    """Whether `back` is of a base of the class of `value`, with the same fields and the same content."""
    made: Any = type(value)
    found: Any = type(back)
    names = _names(found)
    if names is None or not isinstance(value, found) or _names(made) != names:
        return False
    if getattr(value, "__pydantic_extra__", None):
        return False
    return all(_equal(getattr(value, one, _NOTHING), getattr(back, one, _NOTHING)) for one in names)


class _Search:
    __slots__ = ("_name", "_typed")

    def __init__(self, name: str, *, typed: bool) -> None:
        self._name, self._typed = name, typed

    def loss(self, given: Any, back: Any, place: str, *, inside: bool) -> Loss | None:
        """Return the first loss in what is not equal; `inside` a model, content counts."""
        made, found = type(given), type(back)
        if _is_secret(given):
            remedy = "take the secret out: what a step returns is journaled"
            return Loss(place, f"has a {made.__qualname__}{_at(place)} that would come back masked", remedy)
        if is_model(made):
            if _origin(made) is not _origin(found):
                return self._other_class(given, back, place)
            inside, pairs = True, _fields(given, back, place)
        elif self._typed and is_model(found):
            return self._other_class(given, back, place)
        else:
            parts = _parts(given, back)
            if parts is None:
                return _changed(given, back, place) if inside else None
            pairs = ((place if at is None else f"{place}/{at}", one, other, None) for at, one, other in parts)
        for where, one, other, why in pairs:
            if why is not None and not _is_secret(one):
                remedy = f"return it as a field that a {made.__qualname__} writes and reads"
                return Loss(where, f"would lose {where}, which is {why}", remedy)
            if not _equal(one, other) and (loss := self.loss(one, other, where, inside=inside)) is not None:
                return loss
        return None

    def _other_class(self, given: Any, back: Any, place: str) -> Loss:
        made, found = type(given), type(back)
        becomes = "would be lost" if back is _NOTHING else f"would come back as a {found.__qualname__}"
        if not is_model(found):
            remedy = f"annotate {self._name} with the class that it returns, or the field that holds it with its class"
        elif is_model(made) and issubclass(made, found):
            remedy = f"let the annotation name {made.__qualname__}"
        else:
            remedy = (
                "add a discriminator field, by which they are told apart, or annotate "
                f"{self._name} with the class that it returns"
            )
        return Loss(place, f"has a {made.__qualname__}{_at(place)} that {becomes}", remedy)


def _fields(given: Any, back: Any, place: str) -> Iterator[_Pair]:
    """Yield what a model or dataclass holds, with what came back of it."""
    if not isinstance(given, BaseModel):
        for field in fields(given):
            one, other = getattr(given, field.name, _NOTHING), getattr(back, field.name, _NOTHING)
            if field.compare and one is not _NOTHING:
                # What a factory makes differs each time, as the time does.
                left_out = not field.init and field.default_factory in _MADE_ALIKE and _differs(one, other)
                if not field.init and not left_out:
                    continue
                yield f"{place}/{field.name}", one, other, "init=False" if left_out else None
        return
    for name, about in type(given).model_fields.items():
        one, other = getattr(given, name, _NOTHING), getattr(back, name, _NOTHING)
        if one is not _NOTHING:
            left_out = name not in back.model_fields_set and _differs(one, other)
            why = "excluded" if about.exclude else "written otherwise than it is read"
            yield f"{place}/{name}", one, other, why if left_out else None
    for name, one in (given.__pydantic_extra__ or {}).items():
        yield f"{place}/{name}", one, (back.__pydantic_extra__ or {}).get(name, _NOTHING), None


def _parts(given: Any, back: Any) -> Iterable[tuple[Any, Any, Any]] | None:
    """Return keys of a container, what is there and what came back of it; None for what is no container."""
    if isinstance(given, str | bytes | bytearray):
        return None
    if isinstance(given, Mapping):
        if not isinstance(back, Mapping):
            made: Any = type(back)
            known = _names(made) or ()
            return [(key, one, getattr(back, key, _NOTHING)) for key, one in given.items() if key in known]
        if len(given) == len(back) and given.keys() != back.keys():  # keys that were no text are text
            return zip(given, given.values(), back.values(), strict=True)
        return [(key, one, back.get(key, _NOTHING)) for key, one in given.items()]
    if isinstance(given, Set) and isinstance(back, Set):
        rest = chain((one for one in back if one not in given), repeat(_NOTHING))
        return zip(repeat(None), (one for one in given if one not in back), rest, strict=False)
    if isinstance(given, Sequence | Set) and isinstance(back, Sequence):
        return zip(count(), given, chain(back, repeat(_NOTHING)), strict=False)
    return None


def _changed(given: Any, back: Any, place: str) -> Loss | None:
    """Return the loss of content: of a value that came back as another of its type, or not at all."""
    if type(given) is type(back):
        changed = _differs(given, back)
    else:
        changed = back is _NOTHING or (back is None and not isinstance(given, float))  # JSON has no NaN
    remedy = "let what writes it write what is read"
    return Loss(place, f"would come back with another {place}", remedy) if changed else None


def _differs(given: Any, back: Any) -> bool:
    """Whether two values are not the same, as far as one can tell: of a client or a lock one cannot."""
    if _equal(given, back):
        return False
    return type(given) is not type(back) or (type(given).__eq__ is not _BY_IDENTITY and _equal(given, given))


def _is_secret(value: Any) -> bool:
    return hasattr(type(value), "get_secret_value")


def _at(place: str) -> str:
    return f" at {place}" if place else ""


def _equal(given: Any, back: Any) -> bool:
    try:
        return bool(given == back)
    except Exception:  # noqa: BLE001 an author's __eq__
        return False


def _origin(made: Any) -> Any:
    """Return a model's class, the generic one of a `Page[int]`: pydantic says that they are equal."""
    return (getattr(made, "__pydantic_generic_metadata__", None) or {}).get("origin") or made


@lru_cache(maxsize=1024)
def _names(made: Any) -> tuple[str, ...] | None:
    """Return the names of the fields of a model or dataclass, None for anything else."""
    if issubclass(made, BaseModel):
        return tuple(made.model_fields)
    return tuple(one.name for one in fields(made)) if is_dataclass(made) else None
