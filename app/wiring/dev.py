"""`headgate dev`: Kafka, topics, workers and gateway on one machine, each role a process of its own.

All of them start at once: the roles import what they need while the broker starts, and begin when its topics are there.
"""

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pydantic import SecretStr

from app.kafka import provisioning
from app.kafka.admin import Admin, AdminError
from app.kafka.clients import KafkaUnreachable
from app.kafka.embedded import EmbeddedKafka, EmbeddedKafkaError, ports
from app.kafka.records import Reader, Record, TopicMissing
from app.runtime import loader
from app.settings import FIELDS, KafkaSettings, Settings, http_url, require_loopback, variable
from app.wiring import listening
from app.wiring.roles import CONNECTORS, GATEWAY, GRACE_SECONDS, LONGEST_PAUSE_SECONDS, WORKER, Kind, Role, Say
from app.wiring.unheard import Unheard
from connectors.base.kinds import declared

DRAIN_SECONDS: Final = 1.5
BROKER_WATCH_SECONDS: Final = 0.5
UNHEARD_SECONDS: Final = 2.0
SHOWN_AT_ONCE: Final = 20
"""Most results and dead letters shown of one moment: a load test must not make the terminal its bottleneck."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to run: `kafka_port` None takes any free one; `launcher` is the command that becomes a role."""

    paths: Sequence[str]
    sources: Sequence[Path]
    """YAML files that declare sources."""
    workers: int
    data: Path
    embedded: bool
    kafka_port: int | None
    launcher: Sequence[str]
    config: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where everything is."""

    gateway: str
    kafka: str
    metrics: tuple[str, ...]
    example: str | None
    """A topic that a workflow listens to."""


class GatewayPortTaken(Exception):
    """Another process has the gateway's port."""

    exit_code: Final = 2

    def __init__(self, host: str, port: int, holder: str | None) -> None:
        by = f" by {holder}" if holder else ""
        super().__init__(
            f"Port {port} of {host} is taken{by}. Stop what listens there, or choose another port with --port "
            "(0 takes any free one)."
        )
        self.port = port


class NoFolder(Exception):
    """What is to be kept between starts cannot be kept there."""

    exit_code: Final = 2

    def __init__(self, folder: Path, error: OSError) -> None:
        reason = "a file has that name" if isinstance(error, FileExistsError) else error.strerror or error
        super().__init__(
            f"{folder} cannot be the folder of what is kept: {reason}. Name one that is there or can be made with "
            "--data, such as --data .headgate"
        )


async def run(
    settings: Settings,
    plan: Plan,
    *,
    stop: asyncio.Event,
    say: Say,
    ready: Callable[[Addresses], None],
    show: Callable[[Record], None],
) -> None:
    """Run everything until `stop`. `ready` hears the addresses once all of it is ready, `show` sees what it causes.

    Raises what nobody here can mend: EmbeddedKafkaError, KafkaUnreachable, TopicsError, LoadError, SettingsError.
    """
    require_loopback(settings)
    for path in plan.paths:
        loader.check(path)
    if plan.sources:
        declared.read(plan.sources)
    await _Dev(settings, plan, stop, say).run(ready, show)


class _Dev:
    def __init__(self, settings: Settings, plan: Plan, stop: asyncio.Event, say: Say) -> None:
        self._settings, self._plan, self._stop, self._say = settings, plan, stop, say
        host = settings.gateway.host
        self._port = settings.gateway.port or ports.free_port(host)
        if not ports.is_free(self._port, host):
            raise GatewayPortTaken(host, self._port, ports.holder(self._port))
        self._broker: EmbeddedKafka | None = None
        bootstrap = settings.kafka.bootstrap
        if plan.embedded:
            port = plan.kafka_port or ports.free_port()
            self._broker = EmbeddedKafka(plan.data / "kafka", port=port)
            bootstrap = self._broker.bootstrap
        self._kafka: KafkaSettings = settings.kafka.model_copy(update={"bootstrap": bootstrap})
        self._roles: list[Role] = []

    async def run(self, ready: Callable[[Addresses], None], show: Callable[[Record], None]) -> None:
        try:
            self._plan.data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NoFolder(self._plan.data, error) from error
        self._roles = self._make_roles()
        tasks = [asyncio.create_task(role.keep(), name=role.name) for role in self._roles]
        work = asyncio.create_task(self._start_and_watch(ready, show), name="dev")
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({work, stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (work, *tasks):
                if ended.done():
                    ended.result()
        finally:
            work.cancel()
            stopping.cancel()
            await asyncio.gather(work, stopping, return_exceptions=True)
            await self._end(tasks)

    # --- the order of things ----------------------------------------------------------------------------------------

    async def _start_and_watch(self, ready: Callable[[Addresses], None], show: Callable[[Record], None]) -> None:
        if self._broker is not None:
            await _in_thread(self._broker.start)
        await _in_thread(self._apply_topics)
        for role in self._roles:
            role.go()
        attached = {name: asyncio.Event() for name in ("results", "dlq")}
        watching = [self._show(name, show, event) for name, event in attached.items()]
        watching.append(self._tell_unheard())
        if self._broker is not None:
            watching.append(self._keep_broker(self._broker))
        await asyncio.gather(self._tell_when_ready(ready, list(attached.values())), *watching)

    async def _tell_when_ready(self, ready: Callable[[Addresses], None], attached: Sequence[asyncio.Event]) -> None:
        found = await asyncio.gather(*(role.ready() for role in self._roles))
        for event in attached:  # the result of the very first event is to be shown as well
            await event.wait()
        example = await _in_thread(self._example)
        served = [(role, port) for role, port in zip(self._roles, found, strict=True) if role.kind is WORKER]
        ready(
            Addresses(
                gateway=http_url(self._settings.gateway.host, self._port),
                kafka=self._kafka.bootstrap,
                metrics=tuple(f"{http_url(role.host, port)}/metrics" for role, port in served),
                example=example,
            )
        )

    def _example(self) -> str | None:
        try:
            announced = listening.announcements(self._kafka, Admin.connect(self._kafka))
        except (KafkaUnreachable, TopicMissing, AdminError):  # an example is not worth an end
            return None
        sources = (one.read_text(errors="replace") for one in sorted(loader.files_of(self._plan.paths)))
        return listening.example(announced.values(), sources) if self._plan.paths else None

    def _apply_topics(self) -> None:
        """Create the topics. Raises TopicsError when Headgate cannot work with those that are there."""
        _, differences = provisioning.apply(Admin.connect(self._kafka), self._kafka)
        fatal = [one for one in differences if one.severity is provisioning.Severity.FAIL]
        if fatal:
            raise provisioning.TopicsError(fatal)
        for one in differences:
            self._say("kafka", str(one))

    async def _end(self, tasks: Sequence["asyncio.Task[None]"]) -> None:
        """Roles first, then their broker; by force what takes its time: the journal makes that safe."""
        for role in self._roles:
            role.ask_to_stop()
        _, late = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
        for role in self._roles:
            role.kill()
        if late:
            await asyncio.wait(late, timeout=GRACE_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._broker is not None and self._broker.pid is not None:
            await _in_thread(self._broker.stop)

    async def _keep_broker(self, broker: EmbeddedKafka) -> None:
        """Start the broker again whenever it has ended; workers and gateway find it again by themselves."""
        pause = 1.0
        while True:
            await asyncio.sleep(BROKER_WATCH_SECONDS)
            if broker.pid is not None:
                pause = 1.0
                continue
            self._say("kafka", f"ended unexpectedly; it starts again. Its log is {broker.log_file}")
            try:
                await _in_thread(broker.start)
            except EmbeddedKafkaError as error:
                self._say("kafka", f"{error} Trying again in {pause:g} s.")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                self._say("kafka", f"runs again at {broker.bootstrap}")

    # --- what is shown ----------------------------------------------------------------------------------------------

    async def _show(self, name: str, show: Callable[[Record], None], attached: asyncio.Event) -> None:
        """Show each new record of a topic as it comes."""
        loop = asyncio.get_running_loop()
        while True:
            # Kafka may be away for a while; what was missed meanwhile is in `headgate tail`.
            with suppress(KafkaUnreachable, TopicMissing):
                await _in_thread(lambda: self._follow(name, show, lambda: loop.call_soon_threadsafe(attached.set)))
            await asyncio.sleep(1.0)

    async def _tell_unheard(self) -> None:
        unheard = Unheard(lambda line: self._say("dev", line), host=self._settings.worker.metrics_host)
        while True:
            await asyncio.sleep(UNHEARD_SECONDS)
            ports = [role.port for role in self._roles if role.kind is WORKER and role.port is not None]
            with suppress(KafkaUnreachable, TopicMissing, AdminError):
                await _in_thread(lambda found=ports: unheard.look(self._kafka, found))  # type: ignore[misc]

    def _follow(self, name: str, show: Callable[[Record], None], attached: Callable[[], object]) -> None:
        shown = left_out = 0
        admin = Admin.connect(self._kafka)
        with Reader(self._kafka, admin, self._kafka.prefix + name, from_start=False) as reader:
            attached()
            for record in reader.following():
                if self._stop.is_set():
                    return
                if record is None:
                    if left_out:
                        self._say("dev", f"... and {left_out:,} more in {self._kafka.prefix}{name}")
                    shown = left_out = 0
                elif shown < SHOWN_AT_ONCE:
                    shown += 1
                    show(record)
                else:
                    left_out += 1

    # --- the roles --------------------------------------------------------------------------------------------------

    def _make_roles(self) -> list[Role]:
        plan, roles = self._plan, []
        if plan.paths:
            arguments = ["--reload", "--", *plan.paths]
            for number in range(1, plan.workers + 1):
                name = f"{self._settings.worker.instance_id}-dev-{_folder_digest(plan.data)}-{number}"
                environment = self._environment({"worker.instance_id": name})
                shown = "worker" if plan.workers == 1 else f"worker-{number}"
                roles.append(self._role(WORKER, shown, arguments, environment, plan.paths))
        if plan.paths or plan.sources:  # workflows may set up sources of their own
            name = f"{self._settings.connectors.instance_id}-dev-{_folder_digest(plan.data)}"
            # What is given is what is there: in this development, and in no other one on the same cluster.
            declared_by = self._settings.connectors.declared_by or f"dev-{_folder_digest(plan.data)}"
            own = {"connectors.instance_id": name, "connectors.declared_by": declared_by}
            environment = self._environment(own)
            files = [str(file.absolute()) for file in plan.sources]
            roles.append(self._role(CONNECTORS, "sources", ["run", "--", *files], environment, ()))
        roles.append(self._role(GATEWAY, "gateway", [], self._environment({}), ()))
        return roles

    def _role(
        self, kind: Kind, name: str, arguments: Sequence[str], environment: Mapping[str, str], paths: Sequence[str]
    ) -> Role:
        settings = self._settings
        hosts = {WORKER: settings.worker.metrics_host, CONNECTORS: settings.connectors.metrics_host}
        return Role(
            kind,
            name,
            arguments,
            launcher=self._plan.launcher,
            environment=environment,
            host=hosts.get(kind, settings.gateway.host),
            paths=paths,
            say=self._say,
        )

    def _environment(self, own: Mapping[str, object]) -> dict[str, str]:
        """Our settings as a role's environment: the same, whatever headgate.toml or the shell say meanwhile."""
        settings, plan = self._settings, self._plan
        for_development = {
            "connectors.metrics_port": 0,
            "connectors.drain_timeout_seconds": DRAIN_SECONDS,
            "worker.metrics_port": 0,  # several workers, and several `headgate dev`, on one machine
            "worker.drain_timeout_seconds": DRAIN_SECONDS,
            "gateway.read_model": plan.data / "read-model.sqlite",
            "log.format": "text",
        }
        values: dict[str, object] = {
            name: settings.value(name) for name in FIELDS if settings.source(name) != "default"
        }
        values = for_development | values | dict(own)
        values |= {"kafka.bootstrap": self._kafka.bootstrap, "gateway.port": self._port}
        environment = dict(os.environ) | {variable(name): _text(value) for name, value in values.items()}
        environment["PYTHONUNBUFFERED"] = "1"  # an author's print() is shown when it happens
        if plan.config is not None:
            environment["HEADGATE_CONFIG"] = str(plan.config)
        return environment


def _folder_digest(folder: Path) -> str:
    """Tells sessions of one host apart that share a cluster, and is the same after a restart."""
    return hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:6]


def _text(value: object) -> str:
    """A setting as its variable has it."""
    if value is None:
        return "none"
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


async def _in_thread(call: Callable[[], Answer]) -> Answer:
    """Call it in a thread that the process need not wait for when it ends meanwhile, as one of an executor would be."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Answer] = loop.create_future()

    def settle(answer: Answer | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(answer)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def work() -> None:
        answer, raised = None, None
        try:
            answer = call()
        except BaseException as error:  # noqa: BLE001 it is raised where it is awaited
            raised = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, answer, raised)

    threading.Thread(target=work, daemon=True).start()
    return await future
