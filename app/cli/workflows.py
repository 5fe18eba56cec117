"""List the workflows that workers have announced, and retire one."""

import difflib
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click
import orjson

from app.cli import options, output
from app.cli.exits import Exit
from app.cli.groups import Suggesting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.cli.cluster import Cluster
    from app.wiring.listening import Heard, Worker

_MOST_NAMES: Final = 3


@click.group(cls=Suggesting)
def command() -> None:
    """List the workflows that workers have announced, and retire one.

    \b
    Example:
      headgate workflows list
    """


@command.command("list")
@click.option("--retired", is_flag=True, help="Show retired workflows as well.")
@options.kafka
@options.as_json
def list_workflows(*, retired: bool, json: bool) -> None:
    """List workflows with what they trigger on, and the live workers that have loaded them.

    A worker says so every worker.presence_seconds; it counts as live until it has been silent for three times as long.

    \b
    Example:
      headgate workflows list --json | jq -r .id
    """
    from app.cli import cluster

    all_heard = heard(cluster.connect())
    found = [record for record in all_heard.workflows.values() if retired or not record.get("retired_at")]
    loaders = {record["id"]: all_heard.loaders(record["id"]) for record in found}
    if json:
        for record in found:
            output.echo_json(record | {"loaded_by": [one.instance_id for one in loaders[record["id"]]]})
    elif not found:
        click.echo("No workflows. A worker announces what it loads: `headgate worker PATH` or `headgate dev PATH`.")
    else:
        columns = ("workflow", "version", "triggers", "batch", "order", "announced", "by", "loaded by")
        output.table(columns, [(*_row(record), _loaded_by(record, loaders[record["id"]])) for record in found])


@command.command()
@click.argument("workflow_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask; needed where no terminal is.")
@click.option("--force", is_flag=True, help="Retire it although a live worker has loaded it.")
@options.kafka
def retire(workflow_id: str, *, yes: bool, force: bool) -> int:
    """Retire a workflow that no worker will load any more.

    Its runs and events that wait for a worker with its code are given up, and nothing is queued for it from now on. A
    worker that loads it again brings it back, for events from then on.

    A workflow that a live worker has loaded is not retired: that worker would go on running it where it has partitions,
    and all others would give its events up. With --force it is, for a worker that is about to go.

    \b
    Example:
      headgate workflows retire on_order_created
    """
    from app.cli import cluster
    from app.kafka.records import Writer
    from topics import catalog
    from topics.timestamps import rfc3339

    target = cluster.connect()
    all_heard = heard(target)
    known = all_heard.workflows
    if workflow_id not in known:
        near = difflib.get_close_matches(workflow_id, known, n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else "`headgate workflows list` shows those that are known."
        click.echo(f"{click.style('error:', fg='red', bold=True)} No workflow {workflow_id!r}. {remedy}", err=True)
        return Exit.FAILED
    if known[workflow_id].get("retired_at"):
        click.echo(f"{workflow_id} was retired at {known[workflow_id]['retired_at']}.")
        return Exit.OK
    loaders = all_heard.loaders(workflow_id)
    if loaders and not force:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {_still_loaded(workflow_id, loaders)}", err=True)
        return Exit.FAILED
    if not yes and not sys.stdin.isatty():
        raise click.UsageError(
            f"{workflow_id} was not retired: that gives up what waits for it, and nobody is here to ask. Add --yes."
        )
    if not yes:
        click.confirm(f"Retire {workflow_id} and give up what waits for it?", abort=True)
    # Later than what it retires, whatever this machine's clock says: workers ask which of the two is the newer.
    at_ms = max(round(time.time() * 1000), _announced_ms(known[workflow_id]) + 1)
    record = {"id": workflow_id, "retired_at": rfc3339(at_ms)}
    writer = Writer(target.kafka)
    writer.write(
        catalog.qualified(target.kafka.prefix, "workflows"),
        key=workflow_id.encode(),
        value=orjson.dumps(record),
        headers=[("content-type", b"application/json")],
        then=lambda _place: click.echo(f"Retired {workflow_id}."),
    )
    writer.flush()
    return Exit.OK


def _announced_ms(record: dict[str, Any]) -> int:
    from topics.timestamps import milliseconds

    try:
        return milliseconds(record["announced_at"])
    except (LookupError, TypeError, ValueError):
        return 0


def announced(cluster: "Cluster") -> "Mapping[str, dict[str, Any]]":
    """What the compacted topic says of each workflow, by its id."""
    return heard(cluster).workflows


def heard(cluster: "Cluster") -> "Heard":
    """What the compacted topic says of workflows and of the live workers."""
    from app.wiring import listening

    def odd(key: bytes) -> None:
        output.warn(f"The announcement of {key!r} is no JSON object; it is left out.")

    return listening.heard(cluster.kafka, cluster.admin, now_ms=round(time.time() * 1000), odd=odd)


def _still_loaded(workflow_id: str, loaders: "Sequence[Worker]") -> str:
    names = ", ".join(f"{one.instance_id} (heard of {one.silent_seconds:.0f} s ago)" for one in loaders)
    return (
        f"{workflow_id} was not retired: it is loaded by {names}. Stop them, or start them without it, then retire it; "
        "one that ended without a word is forgotten after three times worker.presence_seconds. --force retires it all "
        "the same"
    )


def _loaded_by(record: dict[str, Any], loaders: "Sequence[Worker]") -> str | None:
    """How many live workers have loaded it, and which; with the version where it is not the announced one."""
    if not loaders:
        return None if record.get("retired_at") else "nobody"
    names = []
    for one in loaders[:_MOST_NAMES]:
        version = one.workflows[record["id"]]
        names.append(one.instance_id if version == record.get("version") else f"{one.instance_id} ({version})")
    more = ["..."] if len(loaders) > _MOST_NAMES else []
    return f"{len(loaders)}: {', '.join(names + more)}"


def _schedule_of(record: dict[str, Any]) -> tuple[str, ...]:
    found = record.get("schedule")
    return (f"{found.get('cron')} ({found.get('timezone')})",) if isinstance(found, dict) else ()


def _row(record: dict[str, Any]) -> tuple[object, ...]:
    if record.get("retired_at"):
        return (record["id"], "retired", None, None, None, record["retired_at"], None)
    size, timeout, given = (record.get(one) for one in ("batch_size", "batch_timeout_seconds", "triggers"))
    seconds = f"{timeout:g}" if isinstance(timeout, int | float) else timeout
    batch = None if size in (None, 1) else f"{size}" if seconds is None else f"{size} or {seconds} s"
    triggers = ", ".join([*map(str, given if isinstance(given, list) else ()), *_schedule_of(record)]) or "none"
    return (
        record["id"], record.get("version"), triggers, batch, record.get("order"), record.get("announced_at"),
        record.get("announced_by"),
    )  # fmt: skip
