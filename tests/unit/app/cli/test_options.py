from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from app.cli import options
from app.settings import Settings


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Calls a command with some options, and returns the settings that it saw."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, dev: bool = False, **passed: Any) -> Settings:
        found: list[Settings] = []

        @click.command()
        @options.kafka
        @options.setting("--port", "gateway.port", "Port.", metavar="PORT")
        def command() -> None:
            found.append(options.settings(dev=dev))

        result = CliRunner().invoke(command, list(arguments), catch_exceptions=False, **passed)
        assert result.exit_code == 0
        return found[0]

    return call


def test_an_option_is_a_setting(seen: Callable[..., Settings]) -> None:
    found = seen("--kafka", "a:1", "--port", "81")
    assert (found.kafka.bootstrap, found.gateway.port, found.source("gateway.port")) == ("a:1", 81, "command line")


def test_an_option_beats_a_variable(seen: Callable[..., Settings]) -> None:
    assert seen("--port", "81", env={"HEADGATE_GATEWAY_PORT": "82"}).gateway.port == 81


def test_an_option_that_was_not_given_leaves_the_variable(seen: Callable[..., Settings]) -> None:
    assert seen(env={"HEADGATE_GATEWAY_PORT": "82"}).gateway.port == 82


def test_development_has_its_own_defaults(seen: Callable[..., Settings]) -> None:
    assert (seen().kafka.partitions, seen(dev=True).kafka.partitions) == (32, 8)


def test_a_settings_file_may_be_named(seen: Callable[..., Settings], tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[gateway]\nport = 83\n")
    assert seen(obj=options.Invocation(config=path)).gateway.port == 83
