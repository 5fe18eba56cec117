"""Results of steps as JSON, and back as what they were: the first time as on every replay.

A model or dataclass is read back by the annotation of the function, else by the name of its class, which is looked up
among the names of the function's module and the workflow's, and never imported.
"""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, TypeVar, get_args

import orjson
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from app.engine.values.errors import words
from app.runtime import fragments, losses
from app.runtime.functions import function_of, may_be_kept, unwrapped
from app.runtime.limits import Misuse
from headgate.names import name_of, nonlocals_of
from topics.codec import encode_data
from topics.fields import MAX_DEPTH
from topics.malformed import Malformed

Function = Callable[..., Any]
_TYPE: Final = "headgate:type"
"""The first field of an object whose second is `value`: the name of its class; null for what does not fit the
annotation of the function, and for an object that begins with such a field itself."""
_MARK: Final = re.compile(rb'\{"headgate:type":(null|"(?:[^"\\]|\\.)*"),"value":')
"""What `_wrapped` writes before the value; one brace follows it."""
_SHALLOW_BYTES: Final = 2 * MAX_DEPTH
"""JSON of so many bytes cannot be too deep."""


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

    __slots__ = ("_adapter", "_alternatives", "_function", "_name")

    def __init__(self, function: Function) -> None:
        self._function: Any = function
        self._name: str = getattr(self._function, "__qualname__", None) or repr(self._function)
        annotation = _annotation_of(self._function)
        self._adapter = _adapter_of(annotation)
        classes = [one for one in get_args(annotation) if isinstance(one, type) and losses.is_model(one)]
        self._alternatives = {one.__qualname__: one for one in classes}

    def encode(self, value: Any, workflow: Function, what: str, *, most_bytes: int) -> bytes:
        """Return `value` as the journal holds it. Raises NotStorable."""
        adapter = self._adapter
        if adapter is not None:
            written = self._dumped(adapter, value, what, f"what {self._name} says it returns")
            if written is not None:
                written = _wrapped(None, orjson.Fragment(written)) if _is_marked(written) else written
                return _rewritten(written, what, most_bytes)
        # It is not what the annotation says, or there is none: then it counts as what it is.
        made = type(value)
        if losses.is_model(made):
            if self._found(made.__qualname__, workflow) is not made:
                if (written := self._as_base(value)) is not None:
                    return _rewritten(written, what, most_bytes)
                raise NotStorable(
                    f"{what} is a {made.__qualname__}, which is neither a name in the module of {self._name} nor in "
                    f"that of the workflow, so it could not be read back; annotate {self._name}(...) -> {made.__name__}"
                )
            own, by = _adapter_for(made), f"a {made.__qualname__}"
            written = self._dumped(own, value, what, by)
            if written is None:
                written = encoded(value, what, most_bytes=most_bytes)
                self._check(value, _read_back(own, written, what, by), what, by)
            return _rewritten(_wrapped(made.__qualname__, orjson.Fragment(written)), what, most_bytes)
        written = self._plain(value, what, most_bytes)
        marks = _is_marked(written) or (adapter is not None and not _fits(adapter, written))
        return _wrapped(None, orjson.Fragment(written)) if marks else written

    def decode(self, written: bytes, workflow: Function, what: str) -> Any:
        """Return what was written. Raises NotStorable when its class is no longer there, or reads it no longer."""
        marked = _MARK.match(written)
        if marked is not None:
            # Cut out, not parsed: pydantic reads numbers of any size, of which JSON's parser makes floats.
            name = orjson.loads(marked[1])
            written = written[marked.end() : -1]
            if name is not None:
                found = self._found(name, workflow)
                if found is None:
                    raise NotStorable(
                        f"{what} is recorded as a {name}, and there is no such class in the module of the function or "
                        "of the workflow any more; put it back"
                    )
                return _read(_adapter_for(found), written, f"{what} is recorded as a {name}, and does not fit it")
        if self._adapter is None or (marked is not None and not _fits(self._adapter, written)):
            return orjson.loads(written)
        return _read(self._adapter, written, f"{what} is recorded, and does not fit what {self._name} says it returns")

    def _dumped(self, adapter: TypeAdapter[Any], value: Any, what: str, by: str) -> bytes | None:
        """Return `value` as JSON that `adapter` reads back, None where it is not of its type, or of another class.

        Raises NotStorable: it is of the type, and would come back as less or not at all.
        """
        made = type(value)
        lost = problem = None
        for by_alias in (False, True):  # a model may read by its aliases alone
            try:
                written = adapter.dump_json(value, by_alias=by_alias, warnings="error")
            except (PydanticSerializationError, ValueError, TypeError):
                return None
            try:
                back = _read_back(adapter, written, what, by)
            except NotStorable as error:
                problem = error
                continue
            loss = losses.loss_of(value, back, self._name, typed=True)
            if type(back) is not made and losses.is_model(made) and (loss or made in self._alternatives.values()):
                return None
            if loss is None:
                return written
            lost = lost or _refused(loss, what, by)
        raise lost or problem or NotStorable(what)

    def _as_base(self, value: Any) -> bytes | None:
        """Return `value` as JSON if its class adds nothing to the annotated one, as those of some libraries."""
        try:
            written = b"" if self._adapter is None else self._adapter.dump_json(value)
            alike = self._adapter is not None and losses.is_as_good(value, self._adapter.validate_json(written))
        except (PydanticSerializationError, ValueError, TypeError):
            return None
        return written if alike and not _is_marked(written) else None

    def _plain(self, value: Any, what: str, most_bytes: int) -> bytes:
        """Return as JSON what is no model. Raises NotStorable, also where there is one in it that JSON would lose."""
        if value is None:
            return b"null"
        try:
            fragments.checked(value, what)
            written = orjson.dumps(value, default=_plainly, option=orjson.OPT_PASSTHROUGH_DATACLASS)
            if len(written) > _SHALLOW_BYTES:
                encode_data(orjson.Fragment(written), what)  # which looks how deep it nests
        except (Malformed, TypeError):  # there is a model or dataclass in it, or what is no JSON
            written = encoded(value, what, most_bytes=most_bytes)
            fits = self._adapter is not None and _fits(self._adapter, written)
            back = self._adapter.validate_json(written) if self._adapter and fits else orjson.loads(written)
            self._check(value, back, what, f"what {self._name} says it returns" if fits else "JSON")
        return _bounded(written, what, most_bytes)

    def _check(self, value: Any, back: Any, what: str, by: str) -> None:
        """Raise NotStorable where `value` is no longer itself in `back`."""
        loss = losses.loss_of(value, back, self._name, typed=False)
        if loss is not None:
            raise _refused(loss, what, by)

    def _found(self, name: str, workflow: Function) -> Any:
        """Return the class of this name: a model or dataclass, None if there is none."""
        first, *inner = name.rpartition("<locals>.")[2].split(".")
        for function in (self._function, unwrapped(workflow)):
            found = name_of(function, first)
            for one in inner:
                found = vars(found).get(one) if isinstance(found, type) else None
            if isinstance(found, type) and losses.is_model(found):
                return found
        return self._alternatives.get(name)


def codec_of(function: Function) -> Codec:
    """Return the codec of a function's results; that of a method or a partial is its function's."""
    inner = function_of(function)
    if inner is None:
        return Codec(function)  # built in: it has no annotation, and no module with classes of the author's
    inner = unwrapped(inner)
    return _kept_codec(inner) if may_be_kept(inner) else Codec(inner)


_kept_codec = lru_cache(maxsize=1024)(Codec)


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


def _read_back(adapter: TypeAdapter[Any], written: bytes, what: str, by: str) -> Any:
    """Return what was just written. Raises NotStorable."""
    try:
        return adapter.validate_json(written)
    except ValidationError as error:
        problem = _problem(error)
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


def _refused(loss: losses.Loss, what: str, by: str) -> NotStorable:
    return NotStorable(f"{what}, read back as {by}, {loss.fact}; {loss.remedy}")


def _plainly(value: Any) -> Any:
    """Return a set as JSON has it. Raises TypeError for models, and for what JSON cannot hold."""
    if isinstance(value, set | frozenset):
        return list(value)
    raise TypeError


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


def _annotation_of(function: Any) -> Any:
    """Return what a function says that it returns, Any if it cannot be made out."""
    annotation = getattr(function, "__annotations__", {}).get("return", Any)
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}), nonlocals_of(function))
    except Exception:  # noqa: BLE001 whatever an annotation does: without it the result counts as what it is
        return Any


def _adapter_of(annotation: Any) -> TypeAdapter[Any] | None:
    if annotation in (Any, None, object) or isinstance(annotation, TypeVar):
        return None
    try:
        return TypeAdapter(annotation)
    except (PydanticUserError, NameError):
        return None
