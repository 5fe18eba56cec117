"""Puts the gateway together and runs it: server, producer, followers and read model, one event loop.

Called by `headgate gateway` and by `headgate dev`.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, Final

from app.gateway import connections, hooks, server, sources, telling, workflows
from app.gateway.health import Readiness
from app.kafka import clients
from app.kafka.answers import Answers
from app.kafka.attendance import Attendance
from app.kafka.follow import Follower
from app.kafka.identity import identify_with
from app.kafka.producer import EventProducer
from app.observe import logs
from app.observe.health import Check, Report
from app.settings import DEV_TOKEN, Settings, http_url, is_loopback, require_gateway_token
from app.ui import bounds, readmodel
from app.wiring import explaining
from connectors.base.fleet.publisher import Publisher
from connectors.base.texts.secrets import Variables
from topics.catalog import qualified

DRAIN_SECONDS: Final = 10.0

log = logs.get(__name__)


class CannotListen(Exception):
    """The gateway's address cannot be had."""

    exit_code: Final = 2

    def __init__(self, host: str, port: int, error: OSError) -> None:
        super().__init__(
            f"The gateway cannot listen on {host}:{port}: {error.strerror or error}. "
            "Stop what uses it, or choose another with --port (0 takes any free one)."
        )
        self.host, self.port = host, port


async def run(
    settings: Settings, *, stop: asyncio.Event, listening: Callable[[str], None] = lambda _address: None
) -> None:
    """Serve until `stop`, then finish what is in flight. `listening` hears the address once requests are taken.

    Kafka may come later: until then requests are answered 503. Raises SettingsError without a token, CannotListen,
    ReadModelInUse, and whatever ends one of the parts for good.
    """
    token = require_gateway_token(settings)
    try:
        listener = server.bind(settings.gateway)
    except OSError as error:
        raise CannotListen(settings.gateway.host, settings.gateway.port, error) from error
    with listener:
        model = readmodel.ReadModel(settings.gateway.read_model)
        try:
            host, port = listener.getsockname()[:2]
            listening(http_url(host, port))
            await _Parts(settings, token, model).run(listener, stop)
        finally:
            await model.close()


class _Parts:
    """What runs side by side, and how ready each is."""

    def __init__(self, settings: Settings, token: str, model: readmodel.ReadModel) -> None:
        self._kafka = settings.kafka
        self._bounds = connections.for_this_process(settings.gateway.connections_per_address)
        client = clients.aiokafka_config(settings.kafka)
        self._events = EventProducer(
            self._topic("events"), client=client, timeout_seconds=settings.gateway.produce_timeout_seconds
        )
        self._letters = EventProducer(
            self._topic("dlq"), client=client, timeout_seconds=settings.gateway.produce_timeout_seconds
        )
        identify = identify_with(settings.kafka)
        known = workflows.Workflows()
        self._announcements = Follower(
            self._topic("workflows"), client=client, take=known.take, attach=known.attach, identify=identify
        )
        place = hooks.Place(
            name=settings.connectors.instance_id,
            event_bytes=settings.limits.event_bytes,
            environment=Variables(of_process=os.environ, patterns=settings.connectors.secret_names),
            secrets_folder=settings.connectors.secrets,
        )
        set_up = sources.Sources(hooks.Hooks(place))
        self._sources = [
            Follower(self._topic(name), client=client, take=take, attach=followed.attach, identify=identify)
            for name, take, followed in (
                ("triggers", set_up.take_triggers, set_up.triggers),
                ("sources", set_up.take_statuses, set_up.told),
            )
        ]
        set_up.known = lambda: all(follower.is_caught_up for follower in self._sources)
        self._attendance = Attendance(settings.connectors_group, client=client)
        set_up.attended = lambda: self._attendance.is_attended
        self._publisher = Publisher(prefix=settings.kafka.prefix, client=client)
        self._telling = telling.Telling(set_up, self._publisher)
        newest = {
            readmodel.Source.RESULTS: bounds.MOST_RUNS,
            readmodel.Source.RUNS: bounds.MOST_FACTS_READ,
            readmodel.Source.DEAD_LETTERS: bounds.MOST_DEAD_LETTERS,
        }
        self._history = [
            Follower(
                self._topic(source),
                client=client,
                take=model.take_from(source),
                attach=model.attach_to(source),
                identify=identify,
                newest=count,
            )
            for source, count in newest.items()
        ]
        model.watch(self._history)
        self._answers = Answers(self._topic("results"), client=client)
        model.keep_up_with(self._answers.told)
        self._app = server.build(
            server.Gateway(
                settings=settings.gateway,
                limits=settings.limits,
                token=token,
                producer=self._events,
                letters=self._letters,
                workflows=known,
                sources=set_up,
                read_model=model,
                answers=self._answers,
                readiness=Readiness(self._report),
                explainer=explaining.OneAtATime(settings),
                own_names_only=token == DEV_TOKEN and is_loopback(settings.gateway.host),
            )
        )

    async def run(self, listener: Any, stop: asyncio.Event) -> None:
        parts = [
            self._events.run(),
            self._letters.run(),
            self._answers.run(),
            self._telling.run(),
            self._attendance.run(),
            self._announcements.run(),
            *(follower.run() for follower in (*self._sources, *self._history)),
        ]
        background = [_started(part) for part in parts]
        serving = asyncio.create_task(server.serve(self._app, listener, stop=stop, bounds=self._bounds))
        over: list[str] = []
        try:
            await asyncio.wait({serving, *background}, return_when=asyncio.FIRST_COMPLETED)
            over = [task.get_name() for task in background if task.done()]
            stop.set()
            await serving
            if not any(task.done() for task in background):
                await self._events.drain(DRAIN_SECONDS)
                await self._letters.drain(DRAIN_SECONDS)
        finally:
            for task in (serving, *background):
                if not task.done():
                    task.cancel()
            ended = await asyncio.gather(*background, return_exceptions=True)
            await self._publisher.close()
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise _innermost(outcome)
        if over:
            raise RuntimeError(f"these parts of the gateway ended, though nobody stopped them: {', '.join(over)}")

    async def _report(self) -> Report:
        reason = await self._events.probe()
        checks = {"kafka": Check(up=True, detail=self._kafka.bootstrap)}
        if reason is not None:
            remedy = f"Start Kafka at {self._kafka.bootstrap}, or name another with --kafka HOST:PORT"
            checks["kafka"] = Check(up=False, detail=reason, remedy=remedy)
        for follower in (self._announcements, *self._sources):
            checks[follower.topic.removeprefix(self._kafka.prefix)] = _attached(follower)
        for follower in self._history:
            name = follower.topic.removeprefix(self._kafka.prefix)
            # Caught up is not asked for: a gateway that still rebuilds takes events, and says so in its answers.
            checks[f"read_model_{name}"] = _attached(follower, caught_up=True)
        return Report(checks=checks)

    def _topic(self, name: str) -> str:
        return qualified(self._kafka.prefix, name)


def _started(part: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    return asyncio.create_task(part, name=getattr(part, "__qualname__", None))


def _attached(follower: Follower, *, caught_up: bool = False) -> Check:
    if follower.attached and (caught_up or follower.is_caught_up):
        return Check(up=True, detail=follower.topic)
    detail = follower.last_error or "it is being read"
    return Check(
        up=False, detail=f"{follower.topic}: {detail}", remedy="See `headgate doctor` for Kafka and its topics"
    )


def _innermost(error: Exception) -> Exception:
    """The cause itself, where a TaskGroup has put its own name around it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
