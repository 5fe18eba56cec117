"""What the options of a kind are, in words: for the command line and the reference. Taken from the models alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from connectors.base.kinds.registry import Kind
from connectors.base.options import Options
from connectors.base.texts import durations


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One option; `name` has dots where options are nested, `default` is "" for one that is required."""

    name: str
    type: str
    default: str
    meaning: str


def options_of(config: type[BaseModel], prefix: str = "", depth: int = 3) -> Iterator[Described]:
    """Yield the options of a model, nested ones after the one that holds them."""
    schema = config.model_json_schema()
    for name, field in config.model_fields.items():
        shown = field.alias or name
        kind = _type(schema["properties"].get(shown, {}), schema.get("$defs", {}))
        yield Described(
            name=prefix + shown,
            type=kind,
            default="" if field.is_required() else _default(field.get_default(call_default_factory=False), kind),
            meaning=" ".join((field.description or "").split()),
        )
        for inner in _models(field.annotation):
            if depth:
                yield from options_of(inner, f"{prefix}{shown}.", depth - 1)


def described(kind: Kind) -> dict[str, Any]:
    """Return everything about a kind as JSON; `schema` is the JSON Schema of its options."""
    return {
        "kind": kind.name,
        "meaning": kind.meaning,
        "delivery": kind.delivery.value,
        "example": dict(kind.example),
        "emits": emitted(kind),
        "sends": sent_through(kind),
        "schema": kind.config.model_json_schema(),
    }


def emitted(kind: Kind) -> str | None:
    """Return what the events of a kind are, None where its module (a third party's) has no EMITS."""
    return getattr(kind.module, "EMITS", None)


def sent_through(kind: Kind) -> str | None:
    """Return what can be sent through sources of a kind, None where nothing can: the SENDS of its module."""
    return getattr(kind.module, "SENDS", None)


def example_of(kind: Kind) -> str:
    """Return the example as YAML, as it stands in a file of sources."""
    entry = {"id": f"my-{kind.name}", "kind": kind.name, "options": dict(kind.example)}
    made: str = yaml.safe_dump({"sources": [entry]}, sort_keys=False, width=100)
    return made


def _models(annotation: Any) -> Iterator[type[Options]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation  # type: ignore[misc]
    for inner in get_args(annotation):
        yield from _models(inner)


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "$ref" in schema:
        return _type(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    if "anyOf" in schema or "oneOf" in schema:
        several = [_type(one, definitions) for one in schema.get("anyOf", schema.get("oneOf", []))]
        return " or ".join(dict.fromkeys(several))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    match schema.get("type"):
        case "array":
            inner = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
            return f"list of {_type(inner, definitions)}"
        case "string" if schema.get("format") == "password":
            return "secret"
        case "string":
            return "text"
        case "number" if schema.get("format") == "duration":
            return "duration"
        case "null":
            return "none"
        case None:
            return "anything"
        case other:
            return str(other)


def _default(value: Any, kind: str) -> str:
    if value is PydanticUndefined or value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value == "":
        return '""'
    if kind.startswith("duration"):
        return durations.shown(value)
    if isinstance(value, frozenset):
        value = sorted(value)
    if isinstance(value, tuple | list | dict):
        return ", ".join(map(str, value)) or "none"
    return str(getattr(value, "value", value))
