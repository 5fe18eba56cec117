"""Run everything on this machine, with a Kafka of its own."""

import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from app.cli import options, output
from app.cli.exits import Exit
from connectors.base.logs import Rarely
from topics.provenance import SOURCE

if TYPE_CHECKING:
    from app.kafka.records import Record
    from app.wiring.dev import Addresses

DEFAULT_KAFKA_PORT: Final = 9092
DEFAULT_GATEWAY: Final = "http://127.0.0.1:8080"
_COLOURS: Final = {
    "worker": "cyan",
    "sources": "blue",
    "gateway": "magenta",
    "kafka": "yellow",
    "result": "green",
    "dlq": "red",
}
_WIDTH: Final = 8
_LETTERS_SECONDS: Final = 60.0
"""How often dead letters of sources for one reason are shown."""
# What the line `headgate ready` says already.
_ROUTINE: Final = frozenset(
    {
        "partition_claimed",
        "partition_released",
        "worker_stopping",
        "read_model_created",
        "read_model_continued",
        "connectors_own",
        "connectors_stopping",
        "source_begun",
        "source_ended",
    }
)


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@options.setting("--port", "gateway.port", "Port of the gateway (default 8080; 0 takes any free one).", metavar="PORT")
@click.option(
    "--kafka-port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help=f"Port of the embedded Kafka (default {DEFAULT_KAFKA_PORT}; 0 takes any free one).",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=Path(".headgate"),
    show_default=True,
    metavar="DIR",
    help="Folder in which everything is kept between starts.",
)
@click.option("--workers", type=click.IntRange(1, 8), default=1, show_default=True, help="Worker processes.")
@options.setting("--kafka", "kafka.bootstrap", "Use this cluster, start no Kafka.", metavar="HOST:PORT")
@click.option("--quiet", "-q", is_flag=True, help="Do not show each result and dead letter.")
def command(paths: tuple[str, ...], *, kafka_port: int | None, data: Path, workers: int, quiet: bool) -> None:
    """Run everything on this machine: a real Kafka, workers with the workflows in PATH..., and the gateway.

    PATH is a Python file, a folder or a module; a changed file is loaded anew. A PATH that ends in .yaml or .yml
    declares sources, which run as well. Each result and each dead letter is shown as it comes. Only this machine can
    connect, with the token test-token. Ctrl-C stops everything; the data stays, and the next start goes on with it.

    \b
    Examples:
      headgate dev workflows.py
      headgate dev workflows.py sources.yaml
      headgate dev examples/webshop --port 8081 --kafka-port 9093 --data /tmp/shop
    """
    import asyncio
    import os
    import signal
    import sys

    settings = options.settings(dev=True)
    embedded = settings.source("kafka.bootstrap") == "default"
    if not embedded and kafka_port is not None:
        raise click.UsageError(
            f"--kafka-port is for the embedded Kafka, but kafka.bootstrap ({settings.source('kafka.bootstrap')}) names "
            f"{settings.kafka.bootstrap}. Leave one of the two out."
        )
    try:
        from app.wiring import dev
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"`headgate dev` needs {error.name}, which is not installed here. Run `make setup`, or install headgate "
            "with its extra dev-broker."
        ) from error

    sources = [Path(path) for path in paths if path.endswith((".yaml", ".yml"))]
    paths = tuple(path for path in paths if not path.endswith((".yaml", ".yml")))
    plan = dev.Plan(
        paths=paths,
        sources=sources,
        workers=workers,
        data=data,
        embedded=embedded,
        kafka_port=None if kafka_port == 0 else kafka_port or DEFAULT_KAFKA_PORT,
        # -P: the packages of the working directory are the author's, not ours.
        launcher=[sys.executable, "-P", "-m", "app.cli.role"],
        config=click.get_current_context().ensure_object(options.Invocation).config,
    )
    workers_too, sources_too = ", workers" if paths else "", ", sources" if sources else ""
    if embedded:
        output.note(f"Starting Kafka{workers_too}{sources_too} and gateway; what they keep is in {data}.")
    else:
        source = settings.source("kafka.bootstrap")
        output.note(f"Starting gateway{workers_too}{sources_too} for {settings.kafka.bootstrap} ({source}).")

    async def work() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def interrupted() -> None:
            if stop.is_set():  # the second Ctrl-C: the roles and the broker end because we do
                os._exit(Exit.INTERRUPTED)
            if sys.stderr.isatty():
                click.echo("\r\x1b[K", err=True, nl=False)
            output.note("Stopping; Ctrl-C again to stop at once.")
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, interrupted)

        show = _Show()

        def ready(addresses: "Addresses") -> None:
            show.near = "" if addresses.gateway == DEFAULT_GATEWAY else f" --url {addresses.gateway}"
            click.echo(f"headgate ready: {addresses.gateway} kafka {addresses.kafka}")
            sys.stdout.flush()
            _hint(addresses, paths, sources, data=data, token=_token(settings))

        await dev.run(settings, plan, stop=stop, say=_say, ready=ready, show=_ignore if quiet else show)

    asyncio.run(work())
    output.note(f"Stopped. What was kept is in {data}.")


def _token(settings: Any) -> str:
    from app.settings import require_gateway_token

    return require_gateway_token(settings)


def _say(who: str, line: str) -> None:
    """One line of a role, with its name in front."""
    words = line.split(maxsplit=3)
    if len(words) > 2 and words[2] in _ROUTINE and words[1] == "info":
        return
    colour = {"warning": "yellow", "error": "red", "critical": "red"}.get(words[1] if len(words) > 2 else "")
    name = click.style(who.ljust(_WIDTH), fg=_COLOURS.get(who.partition("-")[0]), dim=who == "dev")
    click.echo(f"{name} {click.style('|', dim=True)} {click.style(line, fg=colour)}", err=True)


class _Show:
    """Shows one result or dead letter. `near` is what other commands need to find this gateway.

    A source may make a dead letter of every event, so one reason is shown once a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.near = ""
        self._clock = clock
        self._of_sources = Rarely(_LETTERS_SECONDS)

    def __call__(self, record: "Record") -> None:
        import orjson

        try:
            value = orjson.loads(record.value or b"")
        except orjson.JSONDecodeError:
            return
        if not isinstance(value, dict):
            return
        if "run_id" in value and "status" in value:
            error = value.get("error")
            outcome = f"{error.get('type')}: {error.get('message')}" if isinstance(error, dict) else value.get("result")
            status, run_id = output.one_line(value["status"]), output.one_line(value["run_id"])
            coloured = click.style(status, fg=output.COLOURS.get(status))
            _say("result", f"{coloured} {run_id} {output.one_line(outcome)}")
            if status == "failed":
                _say("result", f"traceback: headgate runs show {shlex.quote(run_id)}{self.near}")
        else:
            code, reason = output.one_line(value.get("code")), output.one_line(value.get("reason"))
            count = self._of_sources.count(f"{code} {reason}", self._clock()) if _is_of_source(value) else 1
            if not count:
                return
            times = f" ({count} times)" if count > 1 else ""
            _say("dlq", f"{click.style(code, fg='red')} {reason}{times}")
            _say("dlq", f"remedy: {output.one_line(value.get('remedy'))}")


def _is_of_source(letter: dict[str, Any]) -> bool:
    source = letter.get("source")
    return isinstance(source, dict) and str(source.get("topic")).startswith(SOURCE)


def _ignore(_record: "Record") -> None: ...


def _hint(addresses: "Addresses", paths: tuple[str, ...], sources: list[Path], *, data: Path, token: str) -> None:
    """What to do next, for people."""
    from app.settings import KafkaSettings

    near = "" if addresses.kafka == KafkaSettings().bootstrap else f" --kafka {addresses.kafka}"
    topic = addresses.example or "order.created"
    body = json.dumps({"name": topic, "payload": {"id": 1}})
    rows = {
        "send": f"curl {addresses.gateway}/api/v1/events -H 'Authorization: Bearer {token}' \\\n"
        f"             -H 'Content-Type: application/json' -d {shlex.quote(body)}",
        "or": f"headgate send {shlex.quote(topic)} '{{\"id\": 1}}'{near}",
        "look": f"headgate tail results --from-start{near}",
        "sources": f"headgate connectors status{near}" if sources else None,
        "metrics": ", ".join(addresses.metrics) or None,
        "data": str(data),
    }
    if not paths:
        output.warn(
            "no workflows were named, so no worker runs: events wait in Kafka until one does. "
            f"Name a file: headgate dev {' '.join(['workflows.py', *map(str, sources)])}"
        )
    for name, text in rows.items():
        if text is not None:
            click.echo(f"  {click.style(name.ljust(9), dim=True)}  {text}", err=True)
