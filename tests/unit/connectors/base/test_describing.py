"""The options of a kind in words."""

import pytest

from connectors.base import describing, registry
from connectors.base.options import Field, Options, Seconds, SecretStr


class Inner(Options):
    """Nested."""

    name: str = Field(description="A name.")


class Outer(Options):
    """Options of a test."""

    url: str = Field(description="Where it is.")
    token: SecretStr | None = Field(default=None, description="A secret.")
    wait: Seconds = Field(default=5.0, description="How\n        long.")
    several: tuple[Inner, ...] = Field(default=(), description="Some.")


def test_each_option_has_type_default_and_meaning() -> None:
    rows = [(one.name, one.type, one.default, one.meaning) for one in describing.options_of(Outer)]

    assert [
        ("url", "text", "", "Where it is."),
        ("token", "secret or none", "none", "A secret."),
        ("wait", "number", "5.0", "How long."),
        ("several", "list of object", "none", "Some."),
        ("several.name", "text", "", "A name."),
    ] == rows


@pytest.mark.parametrize("kind", sorted(registry.ours()))
def test_every_kind_can_be_described(kind: str) -> None:
    found = registry.load(kind)

    assert list(describing.options_of(found.config))
    assert describing.described(found)["schema"]["properties"]
    assert describing.example_of(found).startswith("sources:\n- id: my-")
