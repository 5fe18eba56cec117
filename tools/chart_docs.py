"""Generates what the chart says twice: `config:` in values.yaml, values.schema.json, the table in README.md.

`config:` comes from the application's settings, the rest from the comments in values.yaml: a line `# --` says what a
value is, a line `# @schema` holds JSON that narrows it. Called by `make docs`; the tests call `generate` and compare.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from app.settings import FIELDS, GROUPS, shown_default

CHART: Final = Path(__file__).resolve().parents[1] / "helm" / "headgate"
# Settings that the chart sets itself: the pod's name, and what lives in a Secret.
OWNED: Final[Mapping[str, str]] = {
    "worker.instance_id": "the name of the pod",
    "connectors.instance_id": "the name of the pod",
    "connectors.declared_by": "namespace and name of the release",
    "connectors.secrets": "secrets.sources and secrets.webhooks",
    "kafka.sasl_password": "secrets.saslPassword",
    "gateway.token": "secrets.gatewayToken",
}
# Settings whose default on one machine is none in a cluster. An empty bootstrap is refused: everybody has another one;
# a folder on one machine would be somebody's, and here the pod has one for it.
DEFAULTS: Final[Mapping[str, object]] = {
    "kafka.bootstrap": "",
    "worker.metrics_host": "0.0.0.0",
    "worker.data": "/data",
    "connectors.metrics_host": "0.0.0.0",
    "gateway.host": "0.0.0.0",
}
# Ports that the chart's probes and Services need, and that a user without privileges may open.
PORTS: Final = ("worker.metrics_port", "connectors.metrics_port", "gateway.port")
SIZE: Final = r"^\s*[0-9]+\s*([KkMmGg][Ii][Bb]|[Bb])?\s*$"
_CONFIG: Final = re.compile(r"^config:.*?(?=^\S)", re.MULTILINE | re.DOTALL)
_TABLE: Final = re.compile(r"(?<=<!-- values -->\n).*(?=<!-- /values -->)", re.DOTALL)
_KEPT: Final = ("type", "enum", "pattern", "minLength", "minimum", "maximum", "exclusiveMinimum", "items")


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of values.yaml. `children` is None for what users fill freely, a leaf."""

    path: str
    default: Any
    description: str
    narrowed: Mapping[str, Any]
    children: tuple["Value", ...] | None


def generate(chart: Path = CHART) -> dict[Path, str]:
    """Return the text that each generated file must have."""
    values = _CONFIG.sub(lambda _: _config_section(), (chart / "values.yaml").read_text(encoding="utf-8"))
    documented = tuple(_read(values))
    schema: dict[str, Any] = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart"}
    schema |= _object(documented)
    # Helm puts this into the values of a chart that is part of another one.
    schema["properties"]["global"] = {"type": "object"}
    readme = _TABLE.sub(lambda _: _table(documented), (chart / "README.md").read_text(encoding="utf-8"))
    return {
        chart / "values.yaml": values,
        chart / "values.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        chart / "README.md": readme,
    }


def _config_section() -> str:
    lines = ["config:"]
    for group, model in GROUPS.items():
        lines.append(f"  # {model.__doc__}")
        lines.append(f"  {group}:")
        for field in model.model_fields:
            name = f"{group}.{field}"
            if name not in OWNED:
                lines += [f"    # -- {_description(name)}", f"    {field}: {_scalar(name)}"]
    return "\n".join(lines) + "\n\n"


def _description(name: str) -> str:
    """As in the settings; of a port, without the values that are none here."""
    described = str(FIELDS[name].description)
    return described.partition(";")[0].rstrip(".") + "." if name in PORTS else described


def _scalar(name: str) -> str:
    value = DEFAULTS[name] if name in DEFAULTS else FIELDS[name].get_default(call_default_factory=True)
    if name.endswith("_bytes"):
        return shown_default(name)
    if isinstance(value, tuple):
        return json.dumps(list(value))
    if isinstance(value, str):
        return value if re.fullmatch(r"[A-Za-z][\w.-]*\w|\d+\.\d+\.\d+\.\d+", value) else json.dumps(value)
    return json.dumps(value)


def _read(text: str) -> Iterator[Value]:
    top = yaml.compose(text)
    if not isinstance(top, yaml.MappingNode):
        raise SystemExit("values.yaml is no mapping")
    yield from _children(top, "", text.splitlines())


def _children(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        comments: list[str] = []
        for line in reversed(lines[: key.start_mark.line]):
            if not line.lstrip().startswith("#"):
                break
            comments.insert(0, line.lstrip().removeprefix("#").strip())
        described = [line.removeprefix("--").strip() for line in comments if line.startswith("-- ")]
        narrowed = [json.loads(line.removeprefix("@schema")) for line in comments if line.startswith("@schema ")]
        is_object = isinstance(value, yaml.MappingNode) and value.value and not described
        if not is_object and len(described) != 1:
            raise SystemExit(
                f"values.yaml:{key.start_mark.line + 1}: {path} needs one line `# --` that says what it is"
            )
        yield Value(
            path=path,
            default=yaml.safe_load(yaml.serialize(value)),
            description=" ".join(described),
            narrowed=narrowed[0] if narrowed else {},
            children=tuple(_children(value, f"{path}.", lines)) if is_object else None,
        )


def _object(values: tuple[Value, ...]) -> dict[str, Any]:
    """Nothing unknown gets in; a null takes out what users fill freely, and nothing else that has a default."""
    properties: dict[str, dict[str, Any]] = {value.path.rpartition(".")[2]: _schema(value) for value in values}
    free = {value.path.rpartition(".")[2] for value in values if isinstance(value.default, list) or _is_free(value)}
    required = [name for name, schema in properties.items() if "null" not in schema["type"] and name not in free]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _is_free(value: Value) -> bool:
    return isinstance(value.default, dict) and value.children is None


def _schema(value: Value) -> dict[str, Any]:
    if value.children is not None:
        return _object(value.children)
    if value.path.startswith("config."):
        return _setting(value.path.removeprefix("config."))
    types = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
    schema: dict[str, Any] = {"type": types[type(value.default)], "description": value.description}
    return {**schema, **value.narrowed}


def _setting(name: str) -> dict[str, Any]:
    """The schema of one setting, as pydantic says it, in words that Helm reports well."""
    group, _, field = name.partition(".")
    found = GROUPS[group].model_json_schema()["properties"][field]
    schema: dict[str, Any] = {"description": _description(name)}
    for part in found.get("anyOf", [found]):
        schema |= {word: part[word] for word in _KEPT if word in part and part != {"type": "null"}}
    if name in PORTS:
        schema |= {"type": "integer", "minimum": 1024}
    elif {"type": "null"} in found.get("anyOf", []):
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    if name.endswith("_bytes"):
        schema |= {"type": ["integer", "string"], "minimum": 1, "pattern": SIZE}
    if schema["type"] == "array":
        schema["items"] |= {"pattern": "^[^,]+$"}  # a variable has them with commas
    return schema


def _table(values: tuple[Value, ...]) -> str:
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for value in _leaves(values):
        default = json.dumps(value.default, ensure_ascii=False)
        description = value.description.replace("|", "\\|")
        rows.append(f"| `{value.path}` | `{default}` | {description} |")
    return "\n".join(rows) + "\n"


def _leaves(values: tuple[Value, ...]) -> Iterator[Value]:
    for value in values:
        if value.children is None:
            yield value
        else:
            yield from _leaves(value.children)


def main() -> int:
    """Write what is stale and name it."""
    for path, text in generate().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"generated {path.relative_to(CHART.parents[1])}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
