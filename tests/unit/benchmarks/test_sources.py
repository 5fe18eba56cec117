"""The kinds that are measured: each gets from the world outside what it is to be measured with."""

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks import catalog, outside, processes, sources
from benchmarks.sources import KINDS, Round
from connectors.base.contract import Item, Received
from connectors.base.kinds import registry
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from tests.unit.connectors.standing import StandIn, reading, until

COUNT = 12


class Stage:
    """Where a round has its files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.prefix = folder, "bench."


def a_round(folder: Path, server: asyncio.Server) -> Round:
    port = server.sockets[0].getsockname()[1]
    return Round(stage=cast(catalog.Stage, Stage(folder)), world=cast(processes.Child, None), port=port)


def resolved(options: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(options).replace(sources.SECRET, "secret"))


def marks(items: list[Item]) -> list[str]:
    """Return by which id of the run each event is known, as `benchmarks.arrivals` finds it."""
    events = [item for item in items if isinstance(item, Received)]
    return sorted(match for one in events for match in re.findall(r"b-\d{14}", json.dumps([one.id, one.data]))[:1])


@pytest.mark.parametrize("name", [kind.name for kind in KINDS.values() if not kind.needs and kind.name != "kafka"])
async def test_a_kind_reads_all_events_of_a_run_and_the_world_counts_what_it_acknowledges(
    name: str, tmp_path: Path
) -> None:
    kind = KINDS[name]
    outside_server = outside.Server()
    world, acknowledged = outside_server.world, COUNT if kind.acknowledges else 0
    server = await asyncio.start_server(outside_server.serve, "127.0.0.1", 0)
    # Closed, and not waited for: the kinds keep their connections.
    async with contextlib.AsyncExitStack() as at_end, ClientHttp(Policy(allowed=("127.0.0.0/8",))) as http:
        at_end.callback(server.close)
        given = a_round(tmp_path, server)
        given.inbox.mkdir()
        sources.create_table(given.database)
        module, site = registry.load(kind.kind or name), StandIn(http=http, real_time=True)
        assert module.make is not None
        source = module.make(module.config.model_validate(resolved(kind.options(given))), site)
        async with reading(source, site) as one:
            going = asyncio.create_task(_take(one))
            await site.is_connected.wait()
            await until(lambda: site.position is not None or not kind.counts_from_begin)
            await asyncio.to_thread(kind.make, given, "b-", COUNT)
            await until(lambda: len(marks(one.taken)) >= COUNT)
            await until(lambda: world.acknowledged + world.queue.settled >= acknowledged)
            going.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await going
            counted = await asyncio.to_thread(given.acknowledged)

    assert marks(one.taken) == [outside.identity("b-", number) for number in range(COUNT)]
    assert counted == acknowledged


async def _take(one: Any) -> None:
    while True:
        await one.next()
