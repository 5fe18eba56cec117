"""Puts a process of connectors together and runs it: sources, the files that declare them, health and metrics.

Called by `headgate connectors` and by `headgate dev`.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from app.kafka import clients, records
from app.kafka.admin import AdminError
from app.observe import logs
from app.observe.health import Check, Report
from app.observe.http import HealthServer
from app.settings import Settings
from app.wiring import sourcelist
from connectors.base.fleet.process import Connectors, Process
from connectors.base.kinds import declared
from connectors.base.reach.egress import Policy
from connectors.base.reach.folders import Folders
from topics.sources import Spec, configured

WATCH_SECONDS: Final = 1.0
HEALTH_SECONDS: Final = 2.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 5.0

log = logs.get(__name__)


class MetricsPortTaken(Exception):
    """The port of metrics and health cannot be had."""

    exit_code: Final = 2

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(
            f"Metrics and health cannot listen on {host}:{port}: {error.strerror or error}. "
            "Choose another port with --metrics-port (0 takes any free one)."
        )
        self.host, self.port = host, port


async def run(
    settings: Settings,
    files: Sequence[Path],
    *,
    stop: asyncio.Event,
    ready: Callable[[str], None] = lambda _line: None,
    reload: bool = True,
) -> None:
    """Run connectors until `stop`. `ready` hears a line once this process is a member of the group.

    Raises DeclarationError, MetricsPortTaken, TopicMissing, and whatever no source is to raise.
    """
    stamps = _stamps(files)  # what changes from now on is seen
    wanted = declared.read(files, declared_by=settings.connectors.declared_by)
    await _Running(settings, files, stop, ready).run(wanted, stamps, reload=reload)


def process_of(settings: Settings) -> Process:
    """Return what the frame is told of the settings."""
    connectors = settings.connectors
    return Process(
        name=connectors.instance_id,
        prefix=settings.kafka.prefix,
        client=clients.aiokafka_config(settings.kafka),
        group=settings.connectors_group,
        policy=Policy(allowed=connectors.allow),
        secrets_folder=connectors.secrets,
        secret_names=connectors.secret_names,
        folders=Folders(allowed=connectors.folders),
        event_bytes=settings.limits.event_bytes,
        session_seconds=connectors.session_timeout_seconds,
        dwell_seconds=connectors.dwell_seconds,
        drain_seconds=connectors.drain_timeout_seconds,
    )


class _Running:
    def __init__(
        self, settings: Settings, files: Sequence[Path], stop: asyncio.Event, ready: Callable[[str], None]
    ) -> None:
        self._settings, self._files, self._stop, self._ready = settings, files, stop, ready
        self._connectors = Connectors(process_of(settings))
        self._report = Report(checks={"kafka": Check(up=False, detail="not asked yet")})
        self._declared_by = settings.connectors.declared_by
        self._origins = declared.origins(files, declared_by=self._declared_by)
        self._is_first = True
        self._declared = not files

    async def run(self, wanted: Sequence[Spec], stamps: Sequence[Any], *, reload: bool) -> None:
        settings = self._settings
        server = HealthServer(self._connectors.metrics.registry, lambda: self._report)
        host, port = settings.connectors.metrics_host, settings.connectors.metrics_port
        if port is not None:
            try:
                await server.start(host, port)
            except OSError as error:
                raise MetricsPortTaken(host, port, error) from error
        stopped = asyncio.Event()
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(self._connectors.run(stopped), name="connectors"),
            asyncio.create_task(self._look_for_ever(server), name="health"),
            asyncio.create_task(self._declare(wanted, stamps, reload=reload), name="files"),
        ]
        stopping: asyncio.Task[Any] = asyncio.create_task(self._stop.wait())
        try:
            while not self._stop.is_set():
                done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
                for task in [one for one in tasks if one in done]:
                    task.result()
                    tasks.remove(task)
            log.info("connectors_stopping", partitions=len(self._connectors.partitions))
            stopped.set()
            await asyncio.gather(*(task for task in tasks if task.get_name() == "connectors"))
        finally:
            for task in (stopping, *tasks):
                task.cancel()
            await asyncio.gather(stopping, *tasks, return_exceptions=True)
            await server.close()

    # ---- files -----------------------------------------------------------------------------------------------------

    async def _declare(self, wanted: Sequence[Spec], stamps: Sequence[Any], *, reload: bool) -> None:
        """Set up what the files say, and again whenever they change. A file that has become wrong changes nothing."""
        await self._begin(wanted)
        self._declared = True
        before = stamps
        while reload and self._files:
            await asyncio.sleep(WATCH_SECONDS)
            now = _stamps(self._files)
            is_settled, before = now == before, now
            if now == stamps or not is_settled:  # half of a file is a file with fewer sources, whose positions would go
                continue
            try:
                # In a thread: a large file takes seconds, and the group wants its heartbeats.
                read = partial(declared.read, self._files, declared_by=self._declared_by)
                await self._reconcile(await asyncio.to_thread(read))
            except declared.DeclarationError as error:
                log.error("sources_not_changed", reason=str(error))
            except (clients.KafkaUnreachable, records.TopicMissing, AdminError) as error:
                log.warning("sources_not_changed_yet", reason=str(error))
                continue
            stamps = now

    async def _begin(self, wanted: Sequence[Spec]) -> None:
        """Set up what the files say, once Kafka answers: what runs already waits for it as well."""
        pause, said = FIRST_PAUSE_SECONDS, ""
        while True:
            try:
                await self._reconcile(wanted)
            except clients.KafkaUnreachable as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("sources_not_set_up_yet", reason=said)
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                return

    async def _reconcile(self, wanted: Sequence[Spec]) -> None:
        if not self._files:
            return
        there = await asyncio.to_thread(_set_up, self._settings)
        if self._is_first and self._declared_by is None:  # later it is known that they are ours
            declared.check_strangers(wanted, there, files=self._origins)
        self._is_first = False
        changes = declared.changes(wanted, there, origins=frozenset(self._origins.values()))
        for name, origin in changes.taken.items():
            remedy = "choose another id in the file, or remove the other source"
            log.error("source_taken", source=name, set_up_by=origin, remedy=remedy)
        publisher = self._connectors.publisher
        for spec in changes.written:
            await publisher.write("triggers", spec.id.encode(), configured(spec).value)
        for name in changes.removed:
            await publisher.write("triggers", name.encode(), None)
        for spec in changes.written:
            before = there.get(spec.id)
            if before is not None and before.origin != spec.origin:
                remedy = "nothing where a file was renamed; else give one of the two another id"
                log.warning("source_taken_over", source=spec.id, was_of=before.origin, is_of=spec.origin, remedy=remedy)
        if changes.written or changes.removed:
            log.info("sources_changed", set_up=[spec.id for spec in changes.written], removed=list(changes.removed))

    # ---- health ----------------------------------------------------------------------------------------------------

    async def _look_for_ever(self, server: HealthServer) -> None:
        told = False
        while True:
            reason = await self._connectors.why_not()
            bootstrap = self._settings.kafka.bootstrap
            remedy = f"Start Kafka at {bootstrap}, or name another with --kafka HOST:PORT"
            mine = f"{len(self._connectors.partitions)} partitions"
            self._report = Report(
                checks={
                    "kafka": Check(up=True, detail=bootstrap)
                    if reason is None
                    else Check(up=False, detail=reason, remedy=remedy),
                    "sources": Check(up=self._declared and self._connectors.ready, detail=mine),
                }
            )
            if self._report.ready and not told:
                told = True
                self._ready(f"headgate connectors: {mine}, metrics on port {server.port}")
            await asyncio.sleep(HEALTH_SECONDS if told else 0.1)


def _set_up(settings: Settings) -> dict[str, Spec]:
    return sourcelist.set_up(settings.kafka)


def _stamps(files: Sequence[Path]) -> list[Any]:
    """What changes when a file changes; a file that is away for a moment has none."""
    found: list[Any] = []
    for file in files:
        try:
            stat = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return found
