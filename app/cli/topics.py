"""Create Headgate's topics and check them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from app.cli import options, output
from app.cli.exits import Exit
from app.cli.groups import Suggesting

if TYPE_CHECKING:
    from app.kafka.provisioning import Difference


@click.group(cls=Suggesting)
def command() -> None:
    """Create Headgate's topics and check them.

    `apply` creates what is missing and never alters or removes anything; `check` only looks. Both print every
    difference between the topics and the settings, with the command that mends it.

    \b
    Example:
      headgate topics apply --kafka kafka-0:9092
    """


@command.command()
@options.kafka
@options.as_json
def apply(*, json: bool) -> int:
    """Create the topics that are missing.

    Exits with 0 when Headgate can work with the topics, 1 when it cannot. Running it again changes nothing.

    \b
    Example:
      HEADGATE_KAFKA_PARTITIONS=64 headgate topics apply --kafka kafka-0:9092
    """
    from app.cli import cluster
    from app.kafka import provisioning

    target = cluster.connect()
    created, differences = provisioning.apply(target.admin, target.kafka)
    if json:
        output.echo_json({"created": created, "differences": [_record(one) for one in differences]})
    else:
        cluster.say_if_development(target)
        for name in created:
            click.echo(f"created {name}")
        if not created and not differences:
            click.echo(f"All {len(provisioning.wanted(target.kafka))} topics are there and as they should be.")
        _print(differences)
    fatal = any(one.severity is provisioning.Severity.FAIL for one in differences)
    return Exit.FAILED if fatal else Exit.OK


@command.command()
@options.kafka
@options.as_json
def check(*, json: bool) -> int:
    """Compare the topics with the settings, and change nothing.

    Exits with 1 when anything differs.

    \b
    Example:
      headgate topics check --json | jq '.differences[].remedy'
    """
    from app.cli import cluster
    from app.kafka import provisioning

    target = cluster.connect()
    differences = provisioning.check(target.admin, target.kafka)
    if json:
        output.echo_json({"differences": [_record(one) for one in differences]})
    else:
        cluster.say_if_development(target)
        if not differences:
            click.echo(f"All {len(provisioning.wanted(target.kafka))} topics are there and as they should be.")
        _print(differences)
    return Exit.FAILED if differences else Exit.OK


def _record(difference: "Difference") -> dict[str, str]:
    return {
        "severity": difference.severity.value,
        "topic": difference.topic,
        "what": difference.what,
        "wanted": difference.wanted,
        "found": difference.found,
        "remedy": difference.remedy,
    }


def _print(differences: Sequence["Difference"]) -> None:
    if not differences:
        return
    rows = [(d.severity.value, d.topic, d.what, d.wanted, d.found) for d in differences]
    output.table(("", "topic", "what", "wanted", "found"), rows)
    click.echo()
    for remedy in dict.fromkeys(difference.remedy for difference in differences):
        click.echo(f"  {remedy}")
