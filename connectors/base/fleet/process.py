"""One process of connectors: a member of the group, the partitions that it owns, what it says of their sources.

Called by `app.wiring.connectors`, which gives it settings; knows nothing of them but `Process`.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from connectors.base.closing import end
from connectors.base.fleet.actions import Actions, told
from connectors.base.fleet.group import Group, Lease, rebalance_seconds
from connectors.base.fleet.knocks import Knocks
from connectors.base.fleet.owner import Owner
from connectors.base.fleet.positions import Positions
from connectors.base.fleet.publisher import Publisher
from connectors.base.instance.events import Outgoing
from connectors.base.instance.runner import Runner
from connectors.base.instance.site import Around
from connectors.base.logs import info, warn
from connectors.base.metrics import SourceMetrics
from connectors.base.reach.egress import Policy
from connectors.base.reach.folders import Folders
from connectors.base.reach.http import ClientHttp
from connectors.base.texts.secrets import Variables
from topics.facts import Record
from topics.sources import State, partition_of, status_told

TELL_SECONDS: Final = 0.2
"""How often a changed state is told."""
COUNTS_SECONDS: Final = 5.0
"""How often counts that have changed are told."""
LATER_SECONDS: Final = 60.0
"""How often everything is told: whoever reads it knows that its owner lives."""
PROBE_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a process of connectors is told."""

    name: str
    """Of this process, shown as the owner of its sources."""
    prefix: str
    client: Mapping[str, Any]
    """Keyword arguments of every aiokafka client."""
    group: str
    policy: Policy
    secrets_folder: Path | None
    secret_names: Sequence[str]
    """Patterns of the environment variables that sources may name."""
    folders: Folders
    event_bytes: int
    session_seconds: float
    dwell_seconds: float
    drain_seconds: float


class Connectors:
    """Runs sources from `run` until `stop` is set."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.metrics = SourceMetrics()
        self.publisher = Publisher(prefix=process.prefix, client=process.client)
        self.lease = Lease(rebalance_seconds(process.session_seconds))
        self._owners: dict[int, tuple[Owner, asyncio.Task[None]]] = {}
        self._ended: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        self._gone: list[str] = []
        self._group = Group(
            f"{process.prefix}triggers",
            client=process.client,
            group=process.group,
            lease=self.lease,
            session_seconds=process.session_seconds,
            dwell_seconds=process.dwell_seconds,
            owned=self._own,
            read=self._read,
        )
        self._knocks = Knocks(prefix=process.prefix, client=process.client, idle=self._idle, heard=self._asked)
        self._around = Around(
            publish=self._publish,
            lease=self.lease.wait,
            http=lambda heard: ClientHttp(process.policy, heard=heard),
            resolve=process.policy.resolve,
            metrics=self.metrics,
            secrets_folder=process.secrets_folder,
            environment=Variables(of_process=os.environ, patterns=process.secret_names),
            folders=process.folders,
            event_bytes=process.event_bytes,
        )

    # ---- what others ask -------------------------------------------------------------------------------------------

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions of `triggers` that are this process's."""
        return frozenset(self._owners)

    @property
    def ready(self) -> bool:
        """Whether this process is a member, and everything that is its own runs."""
        return self.lease.held and all(owner.whole for owner, _ in self._owners.values())

    def runner(self, instance_id: str) -> Runner | None:
        """Return what runs a source, None where it is not run here."""
        return next((found for owner, _ in self._owners.values() if (found := owner.runner(instance_id))), None)

    async def why_not(self) -> str | None:
        """Return why Kafka does not answer, None when it does."""
        return self._group.last_error or await self.publisher.probe(PROBE_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`, then drain. Raises what no source is to raise, and what Kafka will not forgive."""
        group = asyncio.create_task(self._group.run(), name="group")
        telling = asyncio.create_task(self._tell_for_ever(), name="telling")
        measuring = asyncio.create_task(self._measure_for_ever(), name="measuring")
        knocks = asyncio.create_task(self._knocks.run(), name="knocks")
        stopping = asyncio.create_task(stop.wait())
        failing = asyncio.create_task(self._first_failure())
        running = {group, telling, measuring, knocks, failing}
        try:
            await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (failing, group, telling, measuring, knocks):
                if task.done():
                    task.result()
            await self._drain()
        finally:
            await end([*running, stopping, *(task for _, task in self._owners.values())])
            await self.publisher.close()

    # ---- what is owned ---------------------------------------------------------------------------------------------

    async def _own(self, partitions: Sequence[int]) -> None:
        """Called by the group: these are ours. What was ours and still is goes on."""
        lost = [one for one in self._owners if one not in partitions]
        ended = [self._owners.pop(one) for one in lost]
        await end([task for _, task in ended])
        for owner, _ in self._owners.values():
            owner.again()
        for one in partitions:
            if one not in self._owners:
                owner = Owner(
                    one,
                    name=self._process.name,
                    around=replace(self._around, lease=partial(self._held, one)),
                    positions=self._positions,
                    actions=self._actions,
                    confirmed=partial(self._confirmed, one),
                    removed=self._gone.append,
                )
                task = asyncio.create_task(owner.run(), name=f"partition {one}")
                task.add_done_callback(self._ended.put_nowait)
                self._owners[one] = (owner, task)
        info("connectors_own", partitions=sorted(self._owners), lost=lost)

    async def _read(self, partition: int, records: Sequence[Any], *, whole: bool) -> None:
        count = await self.publisher.partitions("triggers") if records else 0
        owner = self._owners.get(partition)
        if owner is not None:
            owner[0].read([record for record in records if self._is_at_home(record, count)])
            if whole:
                owner[0].caught_up()

    def _is_at_home(self, record: Any, count: int) -> bool:
        """Whether a record is where its key belongs: the same source in two partitions would have two owners."""
        name = (record.key or b"").decode(errors="replace")
        home, there = partition_of(name, count), int(record.partition)
        if home != there:
            warn("source_in_wrong_partition", source=name, partition=there, belongs_to=home)
        return home == there

    async def _held(self, partition: int) -> None:
        """Return once it is known that a partition is this process's, by the group's last word."""
        await self.lease.wait()
        while partition not in self._group.partitions:
            # Its sources are being ended. What they have read, its next owner reads again.
            await self.lease.confirmed()

    async def _confirmed(self, partition: int) -> None:
        await self.lease.confirmed()
        await self._held(partition)

    def _positions(self, partition: int) -> Positions:
        return Positions(partition, prefix=self._process.prefix, client=self._process.client)

    def _idle(self) -> frozenset[int]:
        return frozenset(partition for partition, (owner, _) in self._owners.items() if owner.idle)

    def _asked(self, partition: int) -> None:
        owner = self._owners.get(partition)
        if owner is not None:
            owner[0].ask()

    def _actions(self, partition: int, runner_of: Callable[[str], Runner | None]) -> Actions:
        return Actions(
            partition,
            prefix=self._process.prefix,
            client=self._process.client,
            runner_of=runner_of,
            publish=partial(self._publish_held, partition),
            metrics=self.metrics,
        )

    async def _publish_held(self, partition: int, events: Sequence[Outgoing]) -> None:
        await self._held(partition)
        await self.publisher.publish(events)

    async def _publish(self, events: Sequence[Outgoing], letters: Sequence[Record]) -> None:
        await self.publisher.publish(events, letters)

    async def _first_failure(self) -> None:
        """Raise what ends the process: an owner returns only when it is ended, and then it is none of ours."""
        while True:
            task = await self._ended.get()
            if not task.cancelled():
                task.result()
            if any(task is one for _, one in self._owners.values()):
                raise AssertionError(f"{task.get_name()} was ended by something in it")

    async def _drain(self) -> None:
        owners = [owner for owner, _ in self._owners.values()]
        drained = [asyncio.create_task(owner.drain()) for owner in owners]
        if drained:
            await asyncio.wait(drained, timeout=self._process.drain_seconds)
            await end(drained)

    # ---- what is said ----------------------------------------------------------------------------------------------

    async def _measure_for_ever(self) -> None:
        """Set what metrics ask for, also while Kafka is away and nothing can be told."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            states: Counter[State] = Counter()
            for owner, _ in self._owners.values():
                for runner in owner.runners.values():
                    states[runner.watched.state] += 1
                    runner.watched.measure(runner.buffered)
            for state in State:
                self.metrics.instances.labels(state.value).set(states[state])

    async def _tell_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            await self._tell_gone()
            for partition, (owner, _) in list(self._owners.items()):
                for name, runner in list(owner.runners.items()):
                    if self._is_ours(partition) and owner.runner(name) is runner and self._is_news(runner):
                        await self._tell(partition, runner)

    async def _tell_gone(self) -> None:
        """Take back what was said of sources that are removed."""
        while self._gone and self.lease.held:
            name = self._gone.pop()
            home = partition_of(name, await self.publisher.partitions("triggers"))
            if self._is_ours(home) and self.runner(name) is None:  # or it is set up again already
                await self.publisher.write("sources", name.encode(), None)

    def _is_ours(self, partition: int) -> bool:
        """Whether we may speak of a partition's sources: what is not ours any more, its next owner tells of."""
        return self.lease.held and partition in self._group.partitions

    async def _tell(self, partition: int, runner: Runner) -> None:
        watched = runner.watched
        status, watched.changed = watched.status, False
        record = status_told(status)
        await self.publisher.write("sources", record.key or b"", record.value)
        if runner.spec.origin.startswith("run ") and status.state is not State.STARTING:
            # A connection is news, and so is a state; each further attempt in vain is none. Who asks anew hears anew.
            word = (status.state, status.epoch if status.state is State.CONNECTED else "", runner.asked_at)
            if word == runner.told:
                return
            if not self._is_ours(partition):  # it may have gone meanwhile for good: all others would wait for it here
                watched.changed = True
                return
            runner.told = word
            await self.publisher.publish([told(status, asked_at=runner.asked_at)])

    def _is_news(self, runner: Runner) -> bool:
        now, counts = time.monotonic(), runner.watched.counts
        at, before = runner.said
        age = now - at
        news = runner.watched.changed or age > LATER_SECONDS or (counts != before and age > COUNTS_SECONDS)
        if news:
            runner.said = (now, counts)
        return news
