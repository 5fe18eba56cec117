"""Puts a worker together and runs it: workflows, partitions, Faust application, metrics. One event loop.

Called by `headgate worker` and, through it, by `headgate dev`.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, cast

from app.agents import inputs as agents
from app.engine.inputs import WorkflowsLoaded
from app.engine.tables.counters import Counters
from app.engine.tables.state import State
from app.kafka import clients, faust_app, provisioning
from app.kafka.admin import Admin
from app.kafka.appender import Appender
from app.kafka.fetching import Fetching
from app.kafka.follow import Follower
from app.kafka.journal import KafkaLog
from app.kafka.log import Fenced
from app.kafka.sender import Sender
from app.kafka.wire import FETCH_BYTES, Wire, is_away
from app.observe import logs
from app.observe.health import Health
from app.observe.http import HealthServer
from app.observe.metrics import WorkerMetrics
from app.pump.around import Bounds
from app.pump.partitions import Partitions, Parts
from app.pump.snapshots import Snapshots
from app.pump.standby import Sources, Standby
from app.pump.takeover import Owner
from app.runtime import loader
from app.runtime.driver import Driver
from app.settings import Settings
from app.wiring import allocator, garbage, limits
from app.wiring.announced import Announced
from app.wiring.clock import SystemClock
from app.wiring.presence import Presence
from app.wiring.reach import KafkaLost, Reach
from app.wiring.sleepers import Sleepers
from topics import catalog

COMMIT_SECONDS: Final = 2.0
INBOXES_BYTES: Final = 32 * 1024 * 1024
"""Of all partitions together: what is fetched and waits for its round."""
FACTS_LINGER_SECONDS: Final = 0.01
RELOAD_SECONDS: Final = 0.5
MOST_TOLD: Final = 5
"""Stuck runs that a round tells the log of."""
STANDBY_FETCH_BYTES: Final = 256 * 1024
"""Of a journal that is followed, read at once: the rounds of owned partitions wait for no more than that."""
_COUNTED: Final = (
    "events", "unmatched", "duplicates", "forwarded", "malformed", "filtered", "noticed", "met", "expired", "crowded",
    "started", "retried", "slept", "woken", "overslept",
)  # fmt: skip
"""Counters of the engine and the metrics of the same names."""

log = logs.get(__name__)


class InstanceConflict(Exception):
    """A newer owner took a partition while it was assigned here."""

    exit_code: Final = 4

    def __init__(self, instance_id: str, cause: BaseException) -> None:
        super().__init__(
            f"{cause}. If this worker was frozen or cut off, its partitions went to another one: start it again. If it "
            f"happens again and again, another process uses the instance id {instance_id!r}: give each its own with "
            "--instance-id"
        )


class PortTaken(Exception):
    """Metrics and health cannot be served where the settings say."""

    exit_code: Final = 2

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(
            f"metrics cannot be served on {host}:{port}: {error.strerror or error}. Choose another port with "
            "--metrics-port (0 takes any free one), or none with --metrics-port none"
        )


class _Worker:
    def __init__(
        self, settings: Settings, paths: Sequence[str], *, reload: bool, loaded: loader.Loaded | None = None
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._reload = reload
        self._process = f"{uuid.uuid4()}"
        self._loaded = loader.load(paths) if loaded is None else loaded
        self._metrics = WorkerMetrics()
        self._sleepers = Sleepers(self._metrics)
        self._health = Health("kafka", "partitions")
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, stop: asyncio.Event, ready: Callable[[str], None]) -> None:
        settings = self._settings
        topic_ids = await asyncio.to_thread(_look_at_topics, settings)
        server = HealthServer(self._metrics.registry, self._health.report)
        if settings.worker.metrics_port is not None:
            host, port = settings.worker.metrics_host, settings.worker.metrics_port
            try:
                await server.start(host, port)
            except OSError as error:
                raise PortTaken(host, port, error) from error
        config = clients.aiokafka_config(settings.kafka)
        wire, sender = Wire(config), Sender(config, prefix=settings.kafka.prefix)
        reach = Reach(wire, self._health, settings.kafka.bootstrap)
        self._appender = appender = Appender(wire)
        self._driver = driver = Driver(
            limits=limits.of_steps(settings),
            threads=settings.worker.threads,
            blocked_seconds=settings.worker.blocked_seconds,
        )
        await asyncio.gather(wire.start(), sender.start())
        await wire.know([settings.kafka.prefix + name for name, one in catalog.CATALOG.items() if one.co_partitioned])
        parts = self._parts(wire, sender, driver, topic_ids)
        self._standby = parts.standby
        self._partitions = partitions = Partitions(parts, failed=self._fail)
        app = faust_app.build(settings, partitions, wire, self._fail)
        agents.declare(app, partitions, self._fail)
        self._announced = Announced(settings.worker.instance_id)
        self._presence = Presence(
            settings.worker.instance_id,
            self._process,
            sender.send,
            every_seconds=settings.worker.presence_seconds,
            now_ms=_now_ms,
        )
        follower = Follower(
            settings.kafka.prefix + "workflows", client=config, take=self._heard, attach=self._announced.attach
        )
        tasks = [asyncio.create_task(follower.run(), name="announcements")]
        tasks[0].add_done_callback(self._task_ended)  # at once: it is waited for before there are others
        try:
            await self._first(follower.caught_up())
            await sender.send(self._announced.missing(self._loaded.workflows, _now_ms()))
            self._tell()
            await app.start()
            tasks.append(asyncio.create_task(self._watch_assignment(app, ready, server), name="assignment"))
            tasks.append(asyncio.create_task(self._show_progress(app), name="progress"))
            tasks.append(asyncio.create_task(reach.watch(), name="reach"))
            tasks.append(asyncio.create_task(allocator.trim_now_and_then(), name="allocator"))
            if self._standby is not None:
                tasks.append(asyncio.create_task(self._standby.run(), name="standby"))
            tasks.append(asyncio.create_task(self._presence.keep(), name="presence"))
            if self._reload:
                tasks.append(asyncio.create_task(self._watch_files(sender), name="reload"))
            for task in tasks[1:]:
                task.add_done_callback(self._task_ended)
            await self._first(stop.wait())
            self._health.down("partitions", "stopping")
            log.info("worker_stopping", running=sum(one.in_flight for one in partitions.pumps()))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await partitions.close(drain_seconds=settings.worker.drain_timeout_seconds)
        await app.stop()
        await self._presence.end()
        driver.close()
        await asyncio.gather(app.fetching.close(), appender.close())
        await asyncio.gather(sender.close(), wire.close(), server.close())

    # --- parts ------------------------------------------------------------------------------------------------------

    def _parts(self, wire: Wire, sender: Sender, driver: Driver, topic_ids: dict[str, str]) -> Parts:
        settings = self._settings

        def open_log(partition: int, fetch_bytes: int = FETCH_BYTES) -> KafkaLog:
            return KafkaLog(
                partition,
                prefix=settings.kafka.prefix,
                wire=wire,
                appender=self._appender,
                sender=sender,
                topic_ids=topic_ids,
                fetch_bytes=fetch_bytes,
            )

        held_bytes = max(1024 * 1024, settings.limits.queued_bytes // settings.kafka.partitions)
        bounds, snapshots, clock = limits.of_partition(settings), _snapshots(settings), SystemClock()
        standby = None
        if settings.worker.standby_bytes is not None:
            journal = settings.kafka.prefix + "journal"
            standby = Standby(
                Sources(
                    open_log=partial(open_log, fetch_bytes=STANDBY_FETCH_BYTES),
                    ends=partial(wire.ends, journal),
                    snapshots=snapshots,
                ),
                bounds,
                name=settings.worker.instance_id,
                now_ms=clock.now_ms,
                most_bytes=settings.worker.standby_bytes,
                at_hand_bytes=held_bytes,
            )
        return Parts(
            owner=Owner(worker=self._process, instance_id=settings.worker.instance_id),
            limits=bounds,
            bounds=Bounds(
                round_events=settings.limits.round_events,
                event_bytes=settings.limits.event_bytes,
                running=settings.limits.running,
                round_bytes=settings.limits.round_bytes,
                held_bytes=held_bytes,
                inbox_bytes=max(1024 * 1024, INBOXES_BYTES // settings.kafka.partitions),
                facts_linger_seconds=FACTS_LINGER_SECONDS,
            ),
            clock=clock,
            runtime=driver,
            open_log=open_log,
            observe=self._observe,
            let_go=garbage.forget,
            standby=standby,
            snapshots=snapshots,
            at_hand_bytes=held_bytes,
            claim_every_ms=int(settings.worker.refence_hours * 3_600_000),
            clock_warn_ms=int(settings.worker.clock_warn_seconds * 1000),
            clock_stop_ms=int(settings.worker.clock_stop_seconds * 1000),
        )

    def _observe(self, counters: Counters, state: State) -> None:
        """Add a round's counts to the metrics. Runs after every round, so it touches only what changed."""
        metrics = self._metrics
        for name in _COUNTED:
            if count := getattr(counters, name):
                getattr(metrics, name).inc(count)
        for (workflow, status), count in counters.ended.items():
            metrics.ended.labels(workflow, status).inc(count)
        if counters.provided:
            metrics.provided(counters.provided)
        for workflow, run, why in counters.stuck[:MOST_TOLD]:  # a deployment may make many
            log.warning(
                "run_stuck",
                workflow=workflow,
                run=run,
                reason=why,
                others=len(counters.stuck) - 1,
                remedy=f"put its code back, then: headgate runs retry {run}; or give it up: headgate runs cancel {run}",
            )
        state.counters = Counters()

    # --- what goes on beside the pumps ------------------------------------------------------------------------------

    async def _heard(self, records: Sequence[Any]) -> None:
        self._presence.take(records)
        if self._announced.take(records):
            self._tell()

    def _tell(self) -> None:
        """Tell the partitions what is loaded here and what others announced."""
        self._presence.load(self._loaded.workflows)
        self._partitions.workflows_changed(
            WorkflowsLoaded(self._loaded.workflows, self._announced.definitions(), self._announced.retired())
        )

    async def _watch_assignment(self, app: faust_app.HeadgateApp, ready: Callable[[str], None], server: Any) -> None:
        """Report readiness: whether Faust has given out partitions and the pumps own them."""
        told = False
        while True:
            if app.should_stop:  # not by us: `stop` cancels this task first
                raise RuntimeError("the Faust application ended by itself") from app.crash_reason
            numbers = self._partitions.numbers
            self._metrics.partitions.set(len(numbers))
            if app.rebalancing or not cast(Any, app.tables).recovery.completed.is_set():
                self._health.down("partitions", "the group is changing")
            else:
                detail = f"{len(numbers)} owned{self._sleepers.detail}{_held_up(app.fetching)}"
                self._health.up("partitions", detail)
                if not told:
                    told = True
                    garbage.tune()
                    ready(f"headgate worker: {len(numbers)} partitions, metrics on port {server.port or 'none'}")
            await asyncio.sleep(0.05 if not told else 0.5)

    async def _show_progress(self, app: faust_app.HeadgateApp) -> None:
        """Commit how far the journal is, for lag displays alone, and set the gauges."""
        before: dict[Any, int] = {}
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            self._set_gauges()
            if app.rebalancing:
                continue
            found = {tp: at for tp in app.consumer.assignment() if (at := app.position(tp)) is not None}
            changed = {tp: at for tp, at in found.items() if before.get(tp) != at}
            if changed:
                await cast(Any, app.consumer)._commit(changed)
                before = found

    def _set_gauges(self) -> None:
        metrics = self._metrics
        if self._standby is not None:
            metrics.standbys.set(len(self._standby.numbers))
        states = [one.state for one in self._partitions.pumps()]
        self._sleepers.observe(states)
        self._driver.beside(sum([one.resting_bytes for one in states]))
        for pump in self._partitions.pumps():
            state, number = pump.state, str(pump.partition)
            metrics.running.labels(number).set(state.running)
            metrics.queued.labels(number).set(state.held_bytes)
            metrics.waiting.labels(number).set(state.waiting)
            metrics.waiting_fill.labels(number).set(state.waiting / state.limits.waits)
            metrics.parked.labels(number).set(len(state.parked))
            metrics.stuck.labels(number).set(len(state.stuck))
            metrics.waits.labels(number).set(0 if state.registry is None else len(state.registry.waits))
            metrics.dedup_ids.labels(number).set(state.dedup.count)
            metrics.dedup_fill.labels(number).set(state.dedup.count / state.dedup.policy.max_ids)
            if state.dedup.removed_early:
                metrics.dedup_early.inc(state.dedup.removed_early)
                state.dedup.removed_early = 0

    async def _watch_files(self, sender: Sender) -> None:
        """Load the workflows anew when a file changes. A file that cannot be loaded changes nothing."""
        seen = loader.stamps(self._paths)
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            now = loader.stamps(self._paths)
            if now == seen:
                continue
            seen = now
            try:
                self._loaded = loader.load_anew(self._paths)
            except Exception as error:  # noqa: BLE001 the author is in the middle of an edit
                log.error("reload_failed", reason=str(error), remedy="mend the file; the old version goes on meanwhile")
                continue
            await sender.send(self._announced.missing(self._loaded.workflows, _now_ms()))
            self._tell()
            log.info("workflows_reloaded", workflows=[one.id for one in self._loaded.workflows])

    # --- ends -------------------------------------------------------------------------------------------------------

    async def _first(self, awaitable: Any) -> None:
        """Wait for `awaitable`, or raise what must end the process."""
        task = asyncio.ensure_future(awaitable)
        await asyncio.wait({task, self._failed}, return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done():
            task.cancel()
            self._failed.result()

    def _fail(self, error: BaseException) -> None:
        if self._failed.done():
            return
        if isinstance(error, Fenced):
            error = InstanceConflict(self._settings.worker.instance_id, error)
        self._failed.set_exception(error)

    def _task_ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and task.exception() is not None:
            self._fail(task.exception() or RuntimeError(task.get_name()))


async def run(
    settings: Settings,
    paths: Sequence[str],
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None] = lambda _line: None,
    reload: bool = False,
    loaded: loader.Loaded | None = None,
) -> None:
    """Work until `stop`; `loaded` is what `paths` hold, where somebody has loaded it already.

    Raises what must end the process: nothing that was not journaled was acknowledged or sent.
    """
    allocator.tune()
    try:
        await _Worker(settings, paths, reload=reload, loaded=loaded).run(stop, ready)
    except Exception as error:
        if getattr(error, "exit_code", None) is None and is_away(error):
            raise KafkaLost(settings.kafka.bootstrap, error) from error
        raise


def _look_at_topics(settings: Settings) -> dict[str, str]:
    """Check the topics and return the ids of the co-partitioned ones. Raises KafkaUnreachable, TopicsError."""
    admin = Admin.connect(settings.kafka)
    provisioning.require(admin, settings.kafka)
    names = {name: settings.kafka.prefix + name for name, one in catalog.CATALOG.items() if one.co_partitioned}
    found = admin.topics(names.values())
    return {name: found[qualified].id for name, qualified in names.items()}


def _held_up(fetching: Fetching) -> str:
    """A word for the readiness on partitions in which a transaction of a producer is open; empty without any."""
    held = fetching.held()
    names = ", ".join(f"{topic}-{partition} at offset {one.at}" for (topic, partition), one in held.items())
    return f"; an open transaction holds up {names}" if held else ""


def _snapshots(settings: Settings) -> Snapshots | None:
    folder = settings.worker.data
    return None if folder is None else Snapshots(folder, name=f"{settings.kafka.prefix}journal.")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
