"""Results of steps as JSON, and back as what they were: the first time as on every replay.

A model or dataclass is read back by the annotation of the function, else by the name of its class, which is looked up
among the names of the function's module and the workflow's, and never imported.
"""

import inspect
import itertools
import uuid
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from app.engine.values.errors import words
from app.runtime import fragments
from app.runtime.limits import Misuse
from topics.codec import encode_data
from topics.malformed import Malformed

Function = Callable[..., Any]
_TYPE: Final = "headgate:type"
"""The first field of an object whose second is `value`: the name of its class; null for what does not fit the
annotation of the function, and for an object that begins with such a field itself."""


class NotStorable(Misuse):
    """A value that the journal cannot hold, or not give back. Says of what and what to do."""


RESULT: Final = ("limits.result_bytes", "return")
GIVEN: Final = ("limits.result_bytes", "give")
EVENT: Final = ("limits.event_bytes", "give")
"""Which setting bounds a value, and what its author does with it."""


def encoded(value: Any, what: str, *, most_bytes: int, bound: tuple[str, str] = RESULT) -> bytes:
    """Return a value as JSON. Raises NotStorable."""
    if value is None:
        return b"null"
    try:
        return _bounded(encode_data(fragments.checked(value, what), what), what, most_bytes, bound)
    except (Malformed, orjson.JSONEncodeError) as error:
        raise NotStorable(f"{error}; give what JSON can hold") from None


class Codec:
    """Writes and reads what one function returns. Made once for each function (`codec_of`)."""

    __slots__ = ("_adapter", "_function", "_names")

    def __init__(self, function: Function) -> None:
        self._function: Any = inspect.unwrap(function)
        self._names = _names_of(self._function)
        self._adapter = _adapter_of(self._function, self._names)

    def encode(self, value: Any, workflow: Function, what: str, *, most_bytes: int) -> bytes:
        """Return `value` as the journal holds it. Raises NotStorable."""
        adapter = self._adapter
        if adapter is not None:
            written = _dumped(adapter, value, what, f"what {self._name} says it returns")
            if written is not None:
                written = _wrapped(None, orjson.Fragment(written)) if _is_marked(written) else written
                return _rewritten(written, what, most_bytes)
        # It is not what the annotation says, or there is none: then it counts as what it is.
        made = type(value)
        if isinstance(value, BaseModel) or is_dataclass(made):
            if self._found(made.__qualname__, workflow) is not made:
                raise NotStorable(
                    f"{what} is a {made.__qualname__}, which is neither a name in the module of {self._name} nor in "
                    f"that of the workflow, so it could not be read back; annotate {self._name}(...) -> {made.__name__}"
                )
            written = _dumped(_adapter_for(made), value, what, f"a {made.__qualname__}")
            if written is None:
                written = encoded(value, what, most_bytes=most_bytes)
            return _rewritten(_wrapped(made.__qualname__, orjson.Fragment(written)), what, most_bytes)
        written = encoded(value, what, most_bytes=most_bytes)
        marks = _is_marked(written) or (adapter is not None and not _fits(adapter, written))
        return _wrapped(None, orjson.Fragment(written)) if marks else written

    def decode(self, written: bytes, workflow: Function, what: str) -> Any:
        """Return what was written. Raises NotStorable when its class is no longer there, or reads it no longer."""
        marked = _is_marked(written)
        if marked:
            wrapped = orjson.loads(written)
            name = wrapped[_TYPE]
            written = orjson.dumps(wrapped["value"])
            if name is not None:
                found = self._found(name, workflow)
                if found is None:
                    raise NotStorable(
                        f"{what} is recorded as a {name}, and there is no such class in the module of the function or "
                        "of the workflow any more; put it back"
                    )
                return _read(_adapter_for(found), written, f"{what} is recorded as a {name}, and does not fit it")
        if self._adapter is None or (marked and not _fits(self._adapter, written)):
            return orjson.loads(written)
        return _read(self._adapter, written, f"{what} is recorded, and does not fit what {self._name} says it returns")

    @property
    def _name(self) -> str:
        return getattr(self._function, "__qualname__", None) or repr(self._function)

    def _found(self, name: str, workflow: Function) -> Any:
        """Return the class of this name: a model or dataclass, None if there is none."""
        first, *inner = name.rpartition("<locals>.")[2].split(".")
        for names in (self._names, _names_of(inspect.unwrap(workflow))):
            found = names.get(first)
            for one in inner:
                found = vars(found).get(one) if isinstance(found, type) else None
            if isinstance(found, type) and (issubclass(found, BaseModel) or is_dataclass(found)):
                return found
        return None


def codec_of(function: Function) -> Codec:
    """Return the codec of a function's results; that of a method or a partial is its function's."""
    try:
        return _codec_of(function)
    except TypeError:  # it cannot be hashed
        return _codec_of.__wrapped__(function)


@lru_cache(maxsize=1024)
def _codec_of(function: Function) -> Codec:
    inner: Any = function
    while not inspect.isfunction(inner):
        outer = inner
        inner = getattr(outer, "func", None) or getattr(outer, "__func__", None)
        if inner is None:
            call = type(outer).__call__
            inner = call if inspect.isfunction(call) else None
        if inner is None:
            return Codec(outer)  # built in: it has no annotation, and no module with classes of the author's
    return Codec(inner) if inner is function else _codec_of(inner)


def uuid_of(run_id: str, key: str) -> str:
    """Return the UUID (version 8, RFC 9562: derived by a rule of one's own) of a step."""
    number = int.from_bytes(blake2b(f"uuid:{run_id}:{key}".encode(), digest_size=16).digest())
    number = number & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62
    return str(uuid.UUID(int=number))


def random_of(run_id: str, key: str) -> float:
    """Return a number from 0 to below 1, of 53 bits, for a step."""
    digest = blake2b(f"random:{run_id}:{key}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / (1 << 53)


def time_of(ms: int) -> datetime:
    """Return milliseconds since 1970 as a time."""
    return datetime.fromtimestamp(ms / 1000, UTC)


@lru_cache(maxsize=256)
def _adapter_for(made: Any) -> TypeAdapter[Any]:
    return TypeAdapter(made)


def _dumped(adapter: TypeAdapter[Any], value: Any, what: str, by: str) -> bytes | None:
    """Return `value` as JSON that `adapter` reads back, None where it is not of its type, or of more than that.

    Raises NotStorable: it is of the type, and would come back as less or not at all.
    """
    for by_alias in (False, True):  # a model may read by its aliases alone
        try:
            written = adapter.dump_json(value, by_alias=by_alias, warnings="error")
        except (PydanticSerializationError, ValueError, TypeError):
            return None
        try:
            back = adapter.validate_json(written)
        except ValidationError as error:
            problem = _problem(error)
            continue
        narrowed = _narrowed(value, back)
        if narrowed is None:
            return written
        given, found = narrowed
        if given is value:
            return None
        raise NotStorable(
            f"{what} has a {type(given).__qualname__} in the place of a {type(found).__qualname__}, and would lose its "
            f"further fields as {by}; let the annotation name it"
        )
    raise NotStorable(f"{what} could not be read back as {by}: {problem}; return what can be, or annotate otherwise")


def _read(adapter: TypeAdapter[Any], written: bytes, problem: str) -> Any:
    try:
        return adapter.validate_json(written)
    except ValidationError as error:
        why = _problem(error)
    except Exception as error:  # noqa: BLE001 a validator of the author's: what is recorded stays unread for now
        why = f"{type(error).__name__}: {words(error)}"
    raise NotStorable(
        f"{problem} any more: {why}; let the code read what is recorded, for example by a default for a new field"
    )


def _fits(adapter: TypeAdapter[Any], written: bytes) -> bool:
    try:
        adapter.validate_json(written)
    except ValidationError:
        return False
    return True


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return f"{''.join(f'/{one}' for one in first['loc'])}: {first['msg']}".removeprefix(": ")


def _narrowed(value: Any, back: Any) -> tuple[Any, Any] | None:
    """Return a model or dataclass within `value` that came back as the class it is derived from, with that."""
    try:
        if value == back:  # models and dataclasses of two classes never are
            return None
    except Exception:  # noqa: BLE001 an author's __eq__
        pass
    made, found = type(value), type(back)
    names = _fields_of(made)
    if names is not None:
        if made is not found and isinstance(value, found):
            return (value, back) if set(names) - set(_fields_of(found) or names) else None
        pairs = [(getattr(value, name), getattr(back, name, None)) for name in names]
    elif isinstance(value, dict) and isinstance(back, dict):
        pairs = [(one, back[key]) for key, one in value.items() if key in back]
    elif isinstance(value, list | tuple) and isinstance(back, list | tuple):
        pairs = list(zip(value, back, strict=False))
    else:
        return None
    return next((one for one in itertools.starmap(_narrowed, pairs) if one is not None), None)


def _fields_of(made: Any) -> Iterable[str] | None:
    """Return the names of the fields of a model or dataclass, None for anything else."""
    if issubclass(made, BaseModel):
        return list(made.model_fields)
    return [one.name for one in fields(made)] if is_dataclass(made) else None


def _is_marked(written: bytes) -> bool:
    return written.startswith(b'{"headgate:type":')


def _wrapped(name: str | None, value: "orjson.Fragment") -> bytes:  # quoted, or `fragments` would count it
    return orjson.dumps({_TYPE: name, "value": value})


def _rewritten(written: bytes, what: str, most_bytes: int) -> bytes:
    """Return the JSON that pydantic or we wrote. Raises NotStorable."""
    value = orjson.Fragment(written)
    if b"NaN" in written or b"Infinity" in written:  # pydantic may write these; no others that are not JSON
        return encoded(value, what, most_bytes=most_bytes)
    try:
        return _bounded(encode_data(value, what), what, most_bytes)
    except Malformed as error:
        raise NotStorable(f"{error}; give what JSON can hold") from None


def _bounded(written: bytes, what: str, most_bytes: int, bound: tuple[str, str] = RESULT) -> bytes:
    if len(written) > most_bytes:
        setting, act = bound
        raise NotStorable(
            f"{what} has {len(written)} bytes, more than the {most_bytes} of {setting}; "
            f"keep it elsewhere and {act} a reference to it"
        )
    return written


def _names_of(function: Any) -> dict[str, Any]:
    names = dict(getattr(function, "__globals__", None) or {})
    if inspect.isfunction(function):
        names.update(inspect.getclosurevars(function).nonlocals)
    return names


def _adapter_of(function: Any, names: dict[str, Any]) -> TypeAdapter[Any] | None:
    annotation = getattr(function, "__annotations__", {}).get("return", Any)
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, names)
        except Exception:  # noqa: BLE001 whatever an annotation does: without it the result counts as what it is
            return None
    if annotation in (Any, None, object) or isinstance(annotation, TypeVar):
        return None
    try:
        return TypeAdapter(annotation)
    except (PydanticUserError, NameError):
        return None
