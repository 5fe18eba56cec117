"""The options of a kind in words."""

from typing import Literal

import pytest

from connectors.base.kinds import describing, registry
from connectors.base.options import Field, Options, Seconds, SecretStr


class Inner(Options):
    """Nested."""

    name: str = Field(description="A name.")


class Round(Options):
    """One of two."""

    by: Literal["round"] = Field(default="round", description="Round.")


class Square(Options):
    """The other one."""

    by: Literal["square"] = Field(description="Square.")
    side: int = Field(default=1, description="A side.")


class Outer(Options):
    """Options of a test."""

    url: str = Field(description="Where it is.")
    token: SecretStr | None = Field(default=None, description="A secret.")
    wait: Seconds = Field(default=5.0, description="How\n        long.")
    several: tuple[Inner, ...] = Field(default=(), description="Some.")
    names: frozenset[str] = Field(default=frozenset({"b", "a"}), description="Names.")
    more: dict[str, str] = Field(default_factory=dict, description="More.")
    start: str = Field(default="", description="A start.")
    shape: Round | Square = Field(default=Round(), description="A shape.")


def test_each_option_has_type_default_and_meaning() -> None:
    rows = [(one.name, one.type, one.default, one.meaning) for one in describing.options_of(Outer)]

    assert [
        ("url", "text", "", "Where it is."),
        ("token", "secret or none", "none", "A secret."),
        ("wait", "duration", "5s", "How long."),
        ("several", "list of object", "none", "Some."),
        ("several.name", "text", "", "A name."),
        ("names", "list of text", "a, b", "Names."),
        ("more", "object", "none", "More."),
        ("start", "text", '""', "A start."),
        ("shape", "object", "see below", "A shape."),
        ("shape.by", "round", "round", "Round."),
        ("shape.by", "square", "", "Square."),
        ("shape.side", "integer", "1", "A side."),
    ] == rows


@pytest.mark.parametrize("kind", sorted(registry.ours()))
def test_every_kind_can_be_described(kind: str) -> None:
    found = registry.load(kind)

    assert list(describing.options_of(found.config))
    assert describing.described(found)["schema"]["properties"]
    assert describing.example_of(found).startswith("sources:\n- id: my-")


@pytest.mark.parametrize("kind", sorted(registry.ours()))
def test_each_kind_says_what_its_events_are(kind: str) -> None:
    told = describing.emitted(registry.load(kind))

    assert told is not None
    assert told.endswith(".")
    assert "`" in told
    assert describing.described(registry.load(kind))["emits"] == told


def test_what_can_be_sent_through_a_kind_is_told_and_nothing_where_it_cannot() -> None:
    assert "chat.postMessage" in (describing.sent_through(registry.load("slack")) or "")
    assert describing.described(registry.load("cron"))["sends"] is None
