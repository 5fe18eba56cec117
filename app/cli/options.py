"""Options that stand for settings, and the settings that a command runs with.

An option made by `setting` puts its value on top of all other sources. A command asks for `settings()` when it needs
them, so that `--help` needs none.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from app.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(kw_only=True)
class Invocation:
    """What the options of one call of `headgate` say about settings."""

    config: Path | None = None
    overrides: dict[str, object] = field(default_factory=dict)


class Choice(click.Choice[str]):
    """One word of several; the error for another one has the nearest of them."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        """Called by click."""
        near = difflib.get_close_matches(str(value), list(self.choices), n=1)
        fact = super().get_invalid_choice_message(value, ctx)
        return f"{fact} Did you mean {near[0]!r}?" if near else fact


def setting(option: str, name: str, help_text: str, *, metavar: str) -> Callable[[Function], Function]:
    """An option of the command line that is the setting `name` (`group.field`)."""

    def remember(context: click.Context, _option: click.Parameter, value: str | None) -> None:
        if value is not None:
            context.ensure_object(Invocation).overrides[name] = value

    return click.option(option, help=help_text, metavar=metavar, expose_value=False, callback=remember)


def kafka(function: Function) -> Function:
    """`--kafka HOST:PORT`, for every command that talks to Kafka."""
    return setting("--kafka", "kafka.bootstrap", "Brokers to ask first (default 127.0.0.1:9092).", metavar="HOST:PORT")(
        function
    )


def as_json(function: Function) -> Function:
    """`--json`, beside what people read."""
    return click.option("--json", "json", is_flag=True, help="Print JSON, one document or one line per record.")(
        function
    )


def settings(*, dev: bool = False) -> "Settings":
    """The settings of this call. Raises SettingsError."""
    from app.settings import Settings  # takes a tenth of a second, which `--help` need not pay

    invocation = click.get_current_context().ensure_object(Invocation)
    return Settings.load(invocation.overrides, dev=dev, config=invocation.config)
