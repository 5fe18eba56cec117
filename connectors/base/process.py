"""One process of connectors: a member of the group, the partitions that it owns, what it says of their sources.

Called by `app.wiring.connectors`, which gives it settings; knows nothing of them but `Process`.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from connectors.base.actions import Actions, told
from connectors.base.closing import end
from connectors.base.egress import Policy
from connectors.base.events import Outgoing
from connectors.base.folders import Folders
from connectors.base.group import Group, Lease
from connectors.base.http import ClientHttp
from connectors.base.logs import info
from connectors.base.metrics import SourceMetrics
from connectors.base.owner import Owner
from connectors.base.positions import Positions
from connectors.base.publisher import Publisher
from connectors.base.runner import Runner
from connectors.base.site import Around
from topics.facts import Record
from topics.sources import State, status_told

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
        self.lease = Lease(process.session_seconds)
        self._owners: dict[int, tuple[Owner, asyncio.Task[None]]] = {}
        self._ended: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
        self._gone: list[str] = []
        self._told: dict[str, tuple[float, tuple[int, ...]]] = {}
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
        self._around = Around(
            publish=self._publish,
            lease=self.lease.wait,
            http=lambda heard: ClientHttp(process.policy, heard=heard),
            resolve=process.policy.resolve,
            metrics=self.metrics,
            secrets_folder=process.secrets_folder,
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
        return next((o.runners[instance_id] for o, _ in self._owners.values() if instance_id in o.runners), None)

    async def why_not(self) -> str | None:
        """Return why Kafka does not answer, None when it does."""
        return self._group.last_error or await self.publisher.probe(PROBE_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`, then drain. Raises what no source is to raise, and what Kafka will not forgive."""
        group = asyncio.create_task(self._group.run(), name="group")
        telling = asyncio.create_task(self._tell_for_ever(), name="telling")
        stopping = asyncio.create_task(stop.wait())
        failing = asyncio.create_task(self._first_failure())
        try:
            await asyncio.wait({group, telling, stopping, failing}, return_when=asyncio.FIRST_COMPLETED)
            for task in (failing, group, telling):
                if task.done():
                    task.result()
            await self._drain()
        finally:
            await end([group, telling, stopping, failing, *(task for _, task in self._owners.values())])
            await self.publisher.close()

    # ---- what is owned ---------------------------------------------------------------------------------------------

    async def _own(self, partitions: Sequence[int]) -> None:
        """Called by the group: these are ours. What was ours and still is goes on."""
        lost = [one for one in self._owners if one not in partitions]
        for one in lost:
            owner, task = self._owners.pop(one)
            await self._end(owner, task)
        for one in partitions:
            if one not in self._owners:
                owner = Owner(
                    one,
                    name=self._process.name,
                    around=self._around,
                    positions=self._positions,
                    actions=self._actions,
                    confirmed=self.lease.confirmed,
                    removed=self._gone.append,
                )
                task = asyncio.create_task(owner.run(), name=f"partition {one}")
                task.add_done_callback(self._ended.put_nowait)
                self._owners[one] = (owner, task)
        info("connectors_own", partitions=sorted(self._owners), lost=lost)

    async def _read(self, partition: int, records: Sequence[Any], *, whole: bool) -> None:
        owner = self._owners.get(partition)
        if owner is not None:
            owner[0].read(records)
            if whole:
                owner[0].caught_up()

    def _positions(self, partition: int) -> Positions:
        return Positions(partition, prefix=self._process.prefix, client=self._process.client)

    def _actions(self, partition: int, runner_of: Callable[[str], Runner | None]) -> Actions:
        return Actions(
            partition,
            prefix=self._process.prefix,
            client=self._process.client,
            runner_of=runner_of,
            publish=self._publish_held,
            metrics=self.metrics,
        )

    async def _publish_held(self, events: Sequence[Outgoing]) -> None:
        await self.lease.wait()
        await self.publisher.publish(events)

    async def _publish(self, events: Sequence[Outgoing], letters: Sequence[Record]) -> None:
        await self.publisher.publish(events, letters)

    async def _end(self, owner: Owner, task: "asyncio.Task[None]") -> None:
        for runner in owner.runners.values():
            self._told.pop(runner.spec.id, None)
        await end([task])

    async def _first_failure(self) -> None:
        """Raise what ends the process: an owner returns only when it is ended."""
        while True:
            task = await self._ended.get()
            if not task.cancelled():
                task.result()

    async def _drain(self) -> None:
        owners = [owner for owner, _ in self._owners.values()]
        drained = [asyncio.create_task(owner.drain()) for owner in owners]
        if drained:
            await asyncio.wait(drained, timeout=self._process.drain_seconds)
            await end(drained)

    # ---- what is said ----------------------------------------------------------------------------------------------

    async def _tell_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            states: Counter[State] = Counter()
            while self._gone:
                await self.publisher.write("sources", self._gone.pop().encode(), None)
            for owner, _ in list(self._owners.values()):
                for runner in list(owner.runners.values()):
                    states[runner.watched.state] += 1
                    runner.watched.measure(runner.buffered)
                    if self._is_news(runner):
                        await self._tell(runner)
            for state in State:
                self.metrics.instances.labels(state.value).set(states[state])

    async def _tell(self, runner: Runner) -> None:
        watched = runner.watched
        status, watched.changed = watched.status, False
        record = status_told(status)
        await self.publisher.write("sources", record.key or b"", record.value)
        if runner.spec.origin.startswith("run ") and status.state is not State.STARTING:
            event = told(status)
            if event.home != runner.told:  # the same word about the same connection is no news to a run
                runner.told = event.home
                await self._publish_held([event])

    def _is_news(self, runner: Runner) -> bool:
        now, counts = time.monotonic(), runner.watched.counts
        at, told = self._told.get(runner.spec.id, (0.0, ()))
        age = now - at
        news = runner.watched.changed or age > LATER_SECONDS or (counts != told and age > COUNTS_SECONDS)
        if news:
            self._told[runner.spec.id] = (now, counts)
        return news
