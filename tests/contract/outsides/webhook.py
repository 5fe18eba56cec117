"""Who calls a webhook: a sender that repeats a delivery until it is answered 2xx. Its source is a gateway."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final

import httpx

from app.gateway.health import Readiness
from app.gateway.hooks import Hooks, Place
from app.gateway.server import Gateway, build
from app.gateway.sources import Sources
from app.gateway.workflows import Workflows
from app.kafka.producer import NotAccepted, Outgoing
from app.observe.health import Report
from app.settings import GatewaySettings, LimitSettings
from connectors.base.closing import end
from connectors.base.texts.secrets import Variables
from tests.contract.lives import PATIENCE_SECONDS, Life, Mark, Moment, World
from tests.contract.outside import INSTANCE, SECRET, Outside
from tests.unit.app.gateway.conftest import MemoryAnswers, MemoryExplainer, MemoryReadModel
from tests.unit.connectors.standing import until
from tests.unit.connectors.webhook.signing import mac
from topics.sources import Spec, Status

PATH: Final = f"/webhooks/github/{INSTANCE}"
AGAIN_SECONDS: Final = 0.005


class Sender(Outside):
    """Of GitHub's kind, but that it repeats by itself."""

    kind = "webhook"
    acknowledges = True
    side_by_side = True
    edited: ClassVar[Mapping[str, Any]] = {"rate_per_second": 100_000}

    async def open(self) -> None:
        self.gateway: GatewayLife | None = None
        self.unheard: set[int] = set()
        self._answered: set[int] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self.opened.push_async_callback(lambda: end(list(self._sending)))

    @property
    def options(self) -> Mapping[str, Any]:
        return {"provider": "github", "secret": SECRET, "publish": "body"}

    async def happen(self, number: int) -> None:
        self._sending.add(asyncio.create_task(self._send(number)))

    def acknowledged(self) -> set[int]:
        return self._answered

    def live(self, world: World, **how: Any) -> Life:
        return GatewayLife(self, world, **how)

    async def _send(self, number: int) -> None:
        body = json.dumps({"n": number}).encode()
        headers = {
            "content-type": "application/json",
            "x-hub-signature-256": "sha256=" + mac(body, SECRET.encode()).hex(),
            "x-github-delivery": f"delivery-{number}",
            "x-github-event": "push",
        }
        while number not in self._answered:
            if self.gateway is not None and await self.gateway.deliver(body, headers):
                self._answered.add(number)
            else:
                self.unheard.add(number)
                await asyncio.sleep(AGAIN_SECONDS)


class GatewayLife:
    """A gateway in process, from its begin to its end; the producer is the world's broker."""

    def __init__(self, sender: Sender, world: World, *, number: int, die_at: Moment | None, deaf: bool) -> None:
        self.number, self._sender, self._world, self._die_at, self._deaf = number, sender, world, die_at, deaf
        self.back, self.dying = asyncio.Event(), asyncio.Event()
        self.back.set()
        self.marks: Counter[Mark] = Counter()
        self._is_open, self._is_dead = True, False
        self._requests: set[asyncio.Task[int]] = set()
        sender.unheard.clear()
        sources = Sources(
            Hooks(
                Place(name=f"g{number}", event_bytes=100_000, environment=Variables(of_process={}), secrets_folder=None)
            )
        )
        self._sources = sources
        self.edit(world.spec)
        application = build(
            Gateway(
                settings=GatewaySettings(),
                limits=LimitSettings(),
                token="token",
                producer=self,
                letters=self,
                workflows=Workflows(),
                sources=sources,
                read_model=MemoryReadModel(),
                answers=MemoryAnswers(),
                readiness=Readiness(_report),
                explainer=MemoryExplainer(),
            )
        )
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="http://gateway")
        sender.gateway = self

    @property
    def status(self) -> Status:
        status = self._sources.hooks.status(INSTANCE)
        assert status is not None
        return status

    @property
    def waiting(self) -> int:
        return len(self._sender.unheard)

    @property
    def held(self) -> int:
        return len(self._requests)

    def edit(self, spec: Spec) -> None:
        self._sources.hooks.configure(spec)

    def runs(self, spec: Spec) -> bool:
        hook = self._sources.hooks.get(INSTANCE)
        return hook is not None and hook.spec == spec

    async def until(self, condition: Callable[[], bool]) -> None:
        await until(condition, seconds=PATIENCE_SECONDS)

    async def stop(self) -> None:
        """As a server does: what has come in is answered, nothing more comes in."""
        await self.until(lambda: self.back.is_set() and not self._sender.unheard - self._sender.acknowledged())
        self._is_open = False
        if self._requests:
            await asyncio.wait(self._requests)

    async def kill(self) -> None:
        self._is_open, self._is_dead = False, True
        await end(list(self._requests))
        await self._client.aclose()
        self._world.statuses.append(self.status)

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether the sender hears that it was taken."""
        if not self._is_open:
            return False
        request = asyncio.create_task(self._answered(body, headers))
        self._requests.add(request)
        try:
            await asyncio.wait([request])
        finally:
            self._requests.discard(request)
            if not request.done():
                await end([request])
        return not request.cancelled() and 200 <= request.result() < 300 and not self._deaf

    async def _answered(self, body: bytes, headers: Mapping[str, str]) -> int:
        return (await self._client.post(PATH, content=body, headers=headers)).status_code

    # ---- the producer of the gateway --------------------------------------------------------------------------------

    pending_bytes = 0

    async def produce(self, events: Iterable[Outgoing]) -> None:
        await self._live_on(Mark.SENT)
        if not self.back.is_set():
            raise NotAccepted("Kafka is not reachable.", retry_after_seconds=2)
        await self._world.pause()
        if self._is_dead:
            await asyncio.get_running_loop().create_future()
        self._world.take([(key, value) for key, _, value, _ in events], self.number)
        await self._live_on(Mark.DURABLE)
        await self._world.pause()
        await self._live_on(Mark.KNOWN)

    async def _live_on(self, mark: Mark) -> None:
        self.marks[mark] += 1
        self._world.marks[mark] += 1
        if self._die_at == (mark, self.marks[mark]):
            self._is_dead = True
            self.dying.set()
        if self._is_dead:
            await asyncio.get_running_loop().create_future()


async def _report() -> Report:
    return Report(checks={})


OUTSIDES: Final = {"webhook": Sender}
