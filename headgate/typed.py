"""Typed payloads: `Payload[Order]` makes the data of each event an Order."""

import inspect
from collections.abc import Callable
from typing import Any, NoReturn, get_args, get_origin

import orjson
from pydantic import PydanticUserError, TypeAdapter, ValidationError

from headgate.event import Event, Payload
from headgate.names import nonlocals_of
from topics.envelope import Envelope
from topics.verdicts import Reject

Fail = Callable[[str, str], NoReturn]


class TypedData:
    """Makes event data an instance of a type, by pydantic."""

    __slots__ = ("_adapter", "type")

    def __init__(self, data_type: Any) -> None:
        self.type = data_type
        self._adapter: TypeAdapter[Any] = TypeAdapter(data_type)

    def event(self, envelope: Envelope) -> Event[Any]:
        """Return the event with typed data. Raises Reject with a JSON pointer when it does not fit."""
        event: Event[Any] = Event(envelope.payload())
        try:
            event["data"] = self._adapter.validate_python(envelope.data)
        except ValidationError:
            event["data"] = self._from_json(envelope)
        return event

    def schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of the data, None for a type that has none."""
        try:
            return self._adapter.json_schema()
        except PydanticUserError:
            return None

    def _from_json(self, envelope: Envelope) -> Any:
        # Strict models take a date from JSON's text, but not from Python's: only what fails there too is wrong.
        try:
            return self._adapter.validate_json(orjson.dumps(envelope.data))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
        first = problems[0]
        pointer = "/data" + "".join(f"/{_escaped(part)}" for part in first["loc"])
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        name = getattr(self.type, "__name__", str(self.type))
        raise Reject(
            f"event {envelope.id!r} on {envelope.topic!r} is no {name}: {pointer}: {first['msg']}{more}",
            pointer=pointer,
            event_id=envelope.id,
        ) from None


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")  # RFC 6901


def payload_type(annotation: Any, fn: Callable[..., Any], *, fail: Fail) -> TypedData | None:
    """Return what the annotation of the payload asks for: None for no annotation, Payload, dict, Payload[Any]."""
    if isinstance(annotation, str):
        annotation = _evaluated(annotation, fn, fail)
    if get_origin(annotation) is not Payload:
        return None
    (data_type,) = get_args(annotation)
    if data_type is Any:
        return None
    try:
        return TypedData(data_type)
    except PydanticUserError as error:
        fail(
            f"pydantic cannot read the type in Payload[{getattr(data_type, '__name__', data_type)}]: {error.message}",
            "use a pydantic model, for example class Order(BaseModel) and payload: Payload[Order]",
        )


def _evaluated(annotation: str, fn: Callable[..., Any], fail: Fail) -> Any:
    """Evaluate an annotation that is text (from __future__ import annotations)."""
    try:
        return eval(annotation, getattr(fn, "__globals__", {}), nonlocals_of(fn))
    except Exception as error:  # noqa: BLE001 - whatever an annotation does, it is the author's mistake
        if "Payload" not in annotation:
            return inspect.Parameter.empty
        fail(
            f"the annotation {annotation} cannot be read: {error}",
            "define its names at the top of the module, above it",
        )
