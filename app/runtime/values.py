"""Results of steps as JSON, and back as what they were: the first time as on every replay.

A model or dataclass is read back by the annotation of the function, else by the name of its class, which is looked up
among the names of the function's module and the workflow's, and never imported.
"""

import inspect
import uuid
from collections.abc import Callable
from dataclasses import is_dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

import orjson
from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from app.runtime import fragments
from app.runtime.limits import Misuse
from topics.codec import encode_data
from topics.malformed import Malformed

Function = Callable[..., Any]
_TYPE: Final = "headgate:type"
"""The first field of an object whose second is `value`: the name of its class, or null for an object that begins with
such a field itself."""


class NotStorable(Misuse):
    """A value that the journal cannot hold, or not give back. Says of what and what to do."""


def encoded(value: Any, what: str, *, most_bytes: int) -> bytes:
    """Return a value as JSON. Raises NotStorable."""
    if value is None:
        return b"null"
    try:
        return _bounded(encode_data(fragments.checked(value, what), what), what, most_bytes)
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
        if self._adapter is not None:
            try:
                written = self._adapter.dump_json(value, warnings="error")
                self._adapter.validate_json(written)
            except (PydanticSerializationError, ValidationError, ValueError, TypeError):
                pass  # it is not what the annotation says: then it counts as what it is
            else:
                value = orjson.Fragment(_wrapped(None, orjson.Fragment(written)) if _is_marked(written) else written)
                return encoded(value, what, most_bytes=most_bytes)
        made = type(value)
        if isinstance(value, BaseModel) or is_dataclass(made):
            if self._found(made.__qualname__, workflow) is not made:
                name = getattr(self._function, "__qualname__", repr(self._function))
                raise NotStorable(
                    f"{what} is a {made.__qualname__}, which is neither a name in the module of {name} nor in that of "
                    f"the workflow, so it could not be read back; annotate {name}(...) -> {made.__name__}"
                )
            written = encoded(value, what, most_bytes=most_bytes)
            return encoded(
                orjson.Fragment(_wrapped(made.__qualname__, orjson.Fragment(written))), what, most_bytes=most_bytes
            )
        written = encoded(value, what, most_bytes=most_bytes)
        return _wrapped(None, orjson.Fragment(written)) if _is_marked(written) else written

    def decode(self, written: bytes, workflow: Function, what: str) -> Any:
        """Return what was written. Raises NotStorable when its class is no longer there."""
        if _is_marked(written):
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
                return TypeAdapter(found).validate_json(written)
        if self._adapter is not None:
            try:
                return self._adapter.validate_json(written)
            except ValidationError:
                pass
        return orjson.loads(written)

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


_CODECS: Final[WeakKeyDictionary[Any, Codec]] = WeakKeyDictionary()


def codec_of(function: Function) -> Codec:
    """Return the codec of a function's results; that of a method or a partial is its function's."""
    while not inspect.isfunction(function):
        inner = getattr(function, "func", None) or getattr(function, "__func__", None)
        if inner is None:
            call = type(function).__call__
            inner = call if inspect.isfunction(call) else None
        if inner is None:
            return Codec(function)  # built in: it has no annotation, and no module with classes of the author's
        function = inner
    found = _CODECS.get(function)
    if found is None:
        found = _CODECS[function] = Codec(function)
    return found


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


def _is_marked(written: bytes) -> bool:
    return written.startswith(b'{"headgate:type":')


def _wrapped(name: str | None, value: "orjson.Fragment") -> bytes:  # quoted, or `fragments` would count it
    return orjson.dumps({_TYPE: name, "value": value})


def _bounded(written: bytes, what: str, most_bytes: int) -> bytes:
    if len(written) > most_bytes:
        raise NotStorable(
            f"{what} has {len(written)} bytes, more than the {most_bytes} of limits.result_bytes; "
            "keep it elsewhere and return a reference to it"
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
