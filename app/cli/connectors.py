"""Run sources such as feeds, sockets and timers, and show how they are."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli import options, output
from app.cli.exits import Exit

if TYPE_CHECKING:
    from app.wiring.sourcelist import Listed


class _FilesOrCommand(click.Group):
    """`headgate connectors FILE...` runs; a first argument that names a command is that command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] in self.commands:
            return super().resolve_command(ctx, args)
        return "run", self.commands["run"], args

    def _check(self, ctx: click.Context, first: str) -> None:
        """Raise UsageError for a first argument that is no file and nearly a command."""
        near = get_close_matches(first, self.commands, n=1)
        if near and not first.startswith("-") and not Path(first).exists():
            raise click.UsageError(f"There is no command and no file {first!r}. Did you mean {near[0]!r}?", ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in self.get_help_option_names(ctx)):
            if args:
                self._check(ctx, args[0])
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_FilesOrCommand, subcommand_metavar="[FILE]... | COMMAND [ARGS]...")
def command() -> None:
    """Run sources such as feeds, sockets and timers, and show how they are.

    With files, or without anything, it runs: what the files declare is set up in Kafka, and this process runs its
    share of all sources that are set up there. Start as many processes as you like; each source runs in one of them,
    and moves when that one dies.

    \b
    Examples:
      headgate connectors sources.yaml --kafka kafka-0:9092
      headgate connectors status
      headgate connectors remove old-feed
      headgate connectors kinds rss
    """


@command.command("run", short_help="Run sources: those that files declare, and a share of all that are set up.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False), metavar="[FILE]...")
@options.kafka
@options.setting("--instance-id", "connectors.instance_id", "This process's name (default: the host's).", metavar="ID")
@options.setting(
    "--metrics-port", "connectors.metrics_port", "Port of metrics and health (default 9101).", metavar="PORT"
)
@options.setting(
    "--allow", "connectors.allow", "Networks or hosts that sources may reach beside public ones.", metavar="LIST"
)
def run(files: tuple[Path, ...]) -> None:
    """Run sources: those that FILE... declares, and this process's share of all that are set up.

    A file that changes is followed at once. SIGTERM and Ctrl-C let sources publish what they have read.

    \b
    Example:
      headgate connectors sources.yaml --metrics-port 9101
    """
    import asyncio
    import logging
    import signal

    import uvloop

    from app.cli import cluster, leaving
    from app.kafka import uvloop_errors
    from app.observe import logs
    from app.wiring import connectors

    settings = cluster.settings_of_worker()
    logs.configure(level=settings.log.level, form=settings.log.format, secrets=settings.secrets())
    logging.getLogger("librdkafka").setLevel(logging.CRITICAL)

    async def work() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        await connectors.run(settings, files, stop=stop, ready=lambda line: click.echo(line, err=True))

    uvloop_errors.translate()
    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(work())
    except Exception as error:
        leaving.close(loop)
        leaving.leave(error)  # one that has failed is not to look as if it ran
        raise
    leaving.close(loop)
    leaving.leave()


@command.command(short_help="Show how each source is.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@options.kafka
@options.as_json
def status(ids: tuple[str, ...], *, json: bool) -> int:
    """Show how each source is, as its owner said last: connected or not, since when, what came, what went wrong.

    With IDs, everything that is known of them: also last byte, last error, next retry and position.

    Exits with 1 when an ID is not known, a source has failed, or no process runs the sources.

    \b
    Example:
      headgate connectors status tech-feed --json
    """
    from app.cli import cluster
    from app.wiring import sourcelist

    target = cluster.connect()
    found = sourcelist.listed(target.kafka, target.admin, group=target.settings.connectors_group)
    missing = [name for name in ids if name not in found]
    shown = [one for name, one in sorted(found.items()) if not ids or name in ids]
    if json:
        for one in shown:
            output.echo_json(one.record())
    elif not found:
        click.echo(
            "No sources. Declare some in a file: `headgate connectors sources.yaml` or `headgate dev sources.yaml`."
        )
    elif ids:
        for number, one in enumerate(shown):
            if number:
                click.echo()
            output.fields(_block(one))
    elif shown:
        columns = ("source", "kind", "state", "since", "last event", "events", "attempts", "owner", "problem")
        output.table(columns, [_row(one) for one in shown])
    for name in missing:
        output.warn(f"No source {name!r}. `headgate connectors status` shows those that are set up.")
    return Exit.FAILED if missing or any(one.failed or one.unattended for one in shown) else Exit.OK


@command.command()
@click.argument("instance_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask; needed where no terminal is.")
@options.kafka
def remove(instance_id: str, *, yes: bool) -> int:
    """Remove a source: it ends, and how far it has read is forgotten.

    For sources of runs that nobody disconnected, and of files that are no longer given. A file that still declares it
    sets it up again at the next start or change.

    \b
    Example:
      headgate connectors remove tech-feed --yes
    """
    import sys

    from app.cli import cluster
    from app.kafka.records import Writer
    from app.wiring import sourcelist
    from topics import catalog
    from topics.sources import partition_of, removed

    target = cluster.connect()
    found = sourcelist.listed(target.kafka, target.admin, group=target.settings.connectors_group)
    if instance_id not in found:
        output.warn(f"No source {instance_id!r}. `headgate connectors status` shows those that are set up.")
        return Exit.FAILED
    origin = found[instance_id].spec.origin or "nobody who said so"
    if not yes and not sys.stdin.isatty():
        raise click.UsageError(f"{instance_id} was not removed: nobody is here to ask. Add --yes.")
    if not yes:
        click.confirm(f"Remove {instance_id}, which {origin} has set up, and forget how far it has read?", abort=True)
    key, value = removed(instance_id)
    writer = Writer(target.kafka)
    writer.write(
        catalog.qualified(target.kafka.prefix, "triggers"),
        key=key,
        value=value,
        partition=partition_of(instance_id, catalog.SOURCE_PARTITIONS),
        then=lambda _place: click.echo(f"Removed {instance_id}, which {origin} had set up."),
    )
    writer.flush()
    return Exit.OK


@command.command()
@click.argument("kind", required=False)
@options.as_json
def kinds(kind: str | None, *, json: bool) -> None:
    """List the kinds of sources, or show the options of one.

    \b
    Example:
      headgate connectors kinds websocket
    """
    from connectors.base.kinds import describing, registry

    if kind is None:
        found, broken = [], []
        for name in registry.names():
            try:
                found.append(registry.load(name))
            except registry.UnknownKind as error:
                broken.append(str(error))
        if json:
            for one in found:
                output.echo_json({"kind": one.name, "meaning": one.meaning, "delivery": one.delivery.value})
        else:
            output.table(("kind", "delivery", "what it is"), [(o.name, o.delivery.value, o.meaning) for o in found])
        for words in broken:
            output.warn(words)
        return
    try:
        one = registry.load(kind)
    except registry.UnknownKind as error:
        raise click.UsageError(str(error)) from None
    if json:
        output.echo_json(describing.described(one))
        return
    click.echo(f"{one.meaning}\nDelivery: {one.delivery.value}")
    if (emitted := describing.emitted(one)) is not None:
        click.echo(f"Events: {emitted}")
    click.echo()
    rows = [(o.name, o.type, o.default or "required", o.meaning) for o in describing.options_of(one.config)]
    output.table(("option", "type", "default", "meaning"), rows)
    if (sent := describing.sent_through(one)) is not None:
        click.echo(f"\nSent through it: {sent}")
    click.echo("\nBeside its options a source may have `filter`, `topic`, `key`, `reconnect` and `paused`.")
    click.echo(f"\nExample:\n{describing.example_of(one)}")


def _row(one: "Listed") -> tuple[Any, ...]:
    status = one.status
    return (
        one.id,
        one.kind,
        one.state,
        status.get("since"),
        status.get("last_event_at"),
        status.get("events_received"),
        status.get("reconnect_attempts"),
        status.get("owner"),
        one.problem,
    )


def _block(one: "Listed") -> dict[str, Any]:
    """Return everything about a source, by what people call it."""
    from topics.sources import webhook_path

    status, path = one.status, webhook_path(one.spec)
    return {
        "source": one.id,
        "kind": one.kind,
        "state": one.state,
        "since": status.get("since"),
        "problem": None if one.problem == path else one.problem or None,  # of a list, the path has no column
        "last error": _problem(status.get("last_error")),
        "connected at": status.get("connected_at"),
        "last event": status.get("last_event_at"),
        "last byte": status.get("last_byte_at"),
        "attempts": status.get("reconnect_attempts"),
        "next retry": status.get("next_retry_at"),
        "position": status.get("position"),
        "events": status.get("events_received"),
        "filtered": status.get("events_filtered"),
        "dead letters": status.get("dead_letters"),
        "notes": status.get("notes") or None,
        "delivery": status.get("delivery") or None,
        "topic": one.spec.topic or f"{one.id}/{{{{ type }}}}",
        "path": path,
        "set up by": one.spec.origin or None,
        "owner": status.get("owner") or None,
        "updated at": status.get("updated_at"),
    }


def _problem(told: Any) -> str | None:
    if not isinstance(told, dict):
        return None
    return f"{told.get('at')}: {told.get('message')} ({told.get('kind')}, {told.get('reason')})"
