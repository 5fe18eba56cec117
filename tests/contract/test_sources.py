"""The contract of sources, over every kind that is installed: what each says of itself, and what it does.

What a kind does is looked at in a world that is played (tests/contract/outsides, found by the kind's name), under the
real frame, by owners that die (tests/contract/lives.py). A new kind is found by itself; exceptions are in WAIVERS.
"""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from connectors.base import declared, describing, registry, secrets
from connectors.base.contract import Delivery, Sends
from connectors.base.options import Options
from connectors.base.registry import Kind
from tests.unit.connectors.standing import StandIn
from topics.sources import Spec

ROOT: Final = Path(__file__).resolve().parents[2]
KINDS: Final = registry.names()
CANARY: Final = "canary-0123456789abcdef"

SECRET_NAMES: Final = re.compile(r"token|secret|passw|credential|private|_key$|^key$|authorization|cookie")
NO_SECRETS: Final[Mapping[str, str]] = {
    "kafka.key": "a template of the event's key",
    "redis.key_field": "names a field of an entry",
    "poll.rest.cursor.field": "names a field of an answer",
    "webhook.public_key": "it is public",
    "webhook.challenge": "names a handshake",
    "websocket.token": "how a token is got: an object whose own fields are looked at",
}
"""Options whose names sound like secrets and that are none."""
WRONG: Final[tuple[Any, ...]] = ([[]], {"no": {"such": 1}}, "\x00", -1, 1e9, True)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return registry.load(request.param)


def resolved(kind: Kind) -> dict[str, Any]:
    """The example of a kind, with a canary for every secret that it names."""
    named = {name.partition(".")[2]: CANARY for name in secrets.names(dict(kind.example))}
    options, _ = secrets.resolve(dict(kind.example), environment=named, folder=None)
    assert isinstance(options, dict)
    return options


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models(inner)


def holds_secrets(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(holds_secrets, get_args(annotation)))


def fields_of(config: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield name and type of every option, also of nested ones."""
    for name, field in config.model_fields.items():
        annotation = field.annotation
        yield f"{prefix}.{name}", annotation
        for inner in models(annotation):
            yield from fields_of(inner, f"{prefix}.{name}")


# ---- what a kind says of itself --------------------------------------------------------------------------------------


def test_a_kind_says_in_one_sentence_what_it_is(kind: Kind) -> None:
    assert kind.meaning.endswith(".")
    assert len(kind.meaning) <= 120
    assert ". " not in kind.meaning


def test_a_kind_says_what_can_be_counted_on(kind: Kind) -> None:
    assert isinstance(kind.delivery, Delivery)


def test_the_example_is_valid_as_it_stands_and_with_secrets_in_their_places(kind: Kind) -> None:
    declared.check(Spec(id="src", kind=kind.name, options=kind.example))  # as a file of sources is looked at
    assert isinstance(kind.config.model_validate(resolved(kind)), Options)


def test_every_option_is_described_in_sentences(kind: Kind) -> None:
    found = list(describing.options_of(kind.config))

    assert [one.name for one in found if not re.search(r"[.)]$", one.meaning)] == []
    assert [one.name for one in found if "  " in one.meaning or one.meaning[:1].islower()] == []


def test_options_refuse_names_that_they_do_not_have(kind: Kind) -> None:
    if kind.module.__name__.startswith("connectors."):
        with pytest.raises(ValidationError):
            kind.config.model_validate({**kind.example, "no_such_option": 1})


def test_an_option_that_sounds_like_a_secret_is_one(kind: Kind) -> None:
    open_ones = [
        name
        for name, annotation in fields_of(kind.config, kind.name)
        if SECRET_NAMES.search(name.rpartition(".")[2]) and not holds_secrets(annotation) and name not in NO_SECRETS
    ]

    assert open_ones == []


def test_no_secret_of_the_example_is_shown(kind: Kind) -> None:
    config = kind.config.model_validate(resolved(kind))

    assert CANARY not in f"{config!r} {config} {config.shown()} {config.model_dump_json()}"


def test_no_secret_is_in_an_error_of_other_options(kind: Kind) -> None:
    """Each option in turn is wrong while the secrets are there."""
    options = resolved(kind)
    for name in kind.config.model_fields:
        for wrong in WRONG:
            told = problem_of(kind, {**options, name: wrong})
            assert CANARY not in told, name


@pytest.mark.parametrize(
    "shape", [CANARY, [CANARY], {"x": CANARY}, {"x": [CANARY]}, [[{"x": CANARY}]], CANARY * 300, f"\x00{CANARY}"]
)
def test_a_secret_of_the_wrong_shape_is_not_in_the_error(kind: Kind, shape: Any) -> None:
    secret = [name for name, field in kind.config.model_fields.items() if holds_secrets(field.annotation)]
    for name in secret:
        assert CANARY not in problem_of(kind, {**resolved(kind), name: shape})


def problem_of(kind: Kind, options: Any) -> str:
    """All that can be shown of options: of the error, or of the config that they make."""
    try:
        config = kind.config.model_validate(options)
    except ValidationError as error:
        return f"{error} {error!r} {error.errors(include_url=False, include_context=False, include_input=False)}"
    return f"{config!r} {config.shown()}"


def test_a_source_can_be_made_of_the_example_without_looking_outside(kind: Kind) -> None:
    if kind.make is None:
        assert kind.name == "webhook"
        return
    config = kind.config.model_validate(resolved(kind))
    kind.make(config, StandIn())  # what it imports is read from disk
    with watching() as seen:
        kind.make(config, StandIn())

    assert seen == []


_watched: list[list[str]] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched and event in {
        *("open", "os.listdir", "os.scandir", "subprocess.Popen", "sqlite3.connect"),
        *("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.sendto"),
    }:
        _watched[-1].append(f"{event} {arguments[:1]}")


@contextmanager
def watching() -> Iterator[list[str]]:
    """Collect what this process does to files and sockets meanwhile."""
    if not _hooked:
        sys.addaudithook(_hook)  # there is no way to remove it: it looks away while nobody watches
        _hooked.append(True)
    seen: list[str] = []
    _watched.append(seen)
    try:
        yield seen
    finally:
        _watched.remove(seen)


@pytest.mark.parametrize("name", registry.ours())
def test_a_kind_knows_nothing_of_the_service(name: str) -> None:
    place = ROOT / "connectors" / name.replace("-", "_")
    files = [place.with_suffix(".py")] if place.with_suffix(".py").exists() else sorted(place.rglob("*.py"))
    known = {module.partition(".")[0] for file in files for module in imports_of(file)}

    assert files
    assert "app" not in known
    assert known & {"connectors", "topics"}


def imports_of(file: Path) -> Iterator[str]:
    """Yield the modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def test_a_kind_that_sends_says_what_can_be_sent_and_no_other_does(kind: Kind) -> None:
    """As the frame shows it to users: the SENDS of its module."""
    sends = issubclass(getattr(kind.module, "Source", object), Sends)
    told = describing.sent_through(kind)

    assert (told is not None) == sends
    if told is not None:
        assert told.endswith(".")
        assert len(told) > 40


@pytest.mark.parametrize("name", registry.ours())
def test_the_reference_has_a_kind(name: str) -> None:
    page = (ROOT / "docs/reference/connectors.md").read_text(encoding="utf-8")

    assert f"\n## {name}\n" in page
