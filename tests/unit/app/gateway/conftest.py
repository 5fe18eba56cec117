"""The gateway in process: its ASGI application, with a producer and a read model in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from app.gateway.health import Readiness
from app.gateway.hooks import Hooks, Place
from app.gateway.server import Gateway, build
from app.gateway.sources import Sources
from app.gateway.workflows import Workflows
from app.kafka.answers import Expected
from app.kafka.producer import Outgoing, ProduceError
from app.observe.health import Check, Report
from app.settings import GatewaySettings, LimitSettings
from connectors.base.texts.secrets import EVERY, Variables

TOKEN = "test-token"


@dataclass
class MemoryProducer:
    """Keeps what was produced; raises `error` instead, if there is one."""

    written: list[Outgoing] = field(default_factory=list)
    error: ProduceError | None = None
    pending_bytes: int = 0

    async def produce(self, events: Iterable[Outgoing]) -> None:
        if self.error is not None:
            raise self.error
        self.written += events

    def values(self) -> list[dict[str, Any]]:
        return [orjson.loads(value) for _, _, value, _ in self.written]


@dataclass
class MemoryReadModel:
    """Answers with what a test gave it, and keeps what was asked."""

    summaries: list[dict[str, Any]] = field(default_factory=list)
    records: dict[str, tuple[bytes, list[bytes]]] = field(default_factory=dict)
    letters: list[bytes] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(
        default_factory=lambda: {"behind_records": 0, "behind_seconds": 0.0, "rebuilding": False}
    )

    def freshness(self) -> Mapping[str, Any]:
        return self.state

    async def runs(self, **asked: Any) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        self.asked.append(asked)
        if asked["cursor"] == "broken":
            raise ValueError("not a cursor")
        return self.summaries[: asked["limit"]], "more" if len(self.summaries) > asked["limit"] else None

    async def run(self, run_id: str) -> tuple[bytes, Sequence[bytes]] | None:
        self.looked.append(run_id)
        return self.records.get(run_id)

    async def dead_letters(self, *, limit: int) -> Sequence[bytes]:
        return self.letters[:limit]


@dataclass
class MemoryAnswers:
    """Answers every run that is waited for with what a test gave it, else never. Deaf, it never begins to listen."""

    results: dict[str, bytes] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    deaf: bool = False

    @contextmanager
    def expected(self, run_id: str) -> Iterator[Expected]:
        self.waiting.append(run_id)
        expected = Expected(asyncio.get_running_loop().create_future(), asyncio.Event())
        workflow_id = run_id.partition(":")[0]
        if not self.deaf:
            expected.listening.set()
            if workflow_id in self.results:
                expected.result.set_result(self.results[workflow_id])
        try:
            yield expected
        finally:
            self.waiting.remove(run_id)


@dataclass
class MemoryExplainer:
    """Answers with what a test gave it by event id, or raises `error`; keeps what was asked."""

    found: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    error: Exception | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def explain(self, event_id: str, since: str) -> Sequence[Mapping[str, Any]]:
        self.asked.append((event_id, since))
        if self.error is not None:
            raise self.error
        return self.found.get(event_id, [])


@dataclass(kw_only=True)
class Served:
    """A gateway and a client that shows its token."""

    gateway: Gateway
    producer: MemoryProducer
    letters: MemoryProducer
    read_model: MemoryReadModel
    workflows: Workflows
    sources: Sources
    answers: MemoryAnswers
    explainer: MemoryExplainer
    app: Any
    client: httpx.AsyncClient

    async def post(self, body: Any, **headers: str) -> httpx.Response:
        """Post to the event route, as JSON unless it is bytes already."""
        given = {"content-type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.client.post("/api/v1/events", content=content, headers=given)


Serve = Callable[..., Any]


@pytest.fixture
def serve() -> Serve:
    """`async with serve(max_events=2) as served`: settings of the group gateway, and `checks`, `clock`, `limits`,
    `environment`.
    """

    @asynccontextmanager
    async def serve(
        *,
        checks: Mapping[str, Check] | None = None,
        clock: Callable[[], float] = lambda: 0.0,
        limits: LimitSettings | None = None,
        environment: Mapping[str, str] | None = None,
        secrets_folder: Path | None = None,
        secret_names: Sequence[str] = EVERY,
        own_names_only: bool = False,
        **settings: Any,
    ) -> AsyncIterator[Served]:
        async def report() -> Report:
            return Report(checks=checks or {"kafka": Check(up=True)})

        producer, read_model, workflows = MemoryProducer(), MemoryReadModel(), Workflows()
        answers, explainer, letters = MemoryAnswers(), MemoryExplainer(), MemoryProducer()
        place = Place(
            name="here",
            event_bytes=(limits or LimitSettings()).event_bytes,
            environment=Variables(of_process=environment or {}, patterns=secret_names),
            secrets_folder=secrets_folder,
            clock=clock,
        )
        sources = Sources(Hooks(place))
        gateway = Gateway(
            settings=GatewaySettings(**settings),
            limits=limits or LimitSettings(),
            token=TOKEN,
            producer=producer,
            letters=letters,
            workflows=workflows,
            sources=sources,
            read_model=read_model,
            answers=answers,
            readiness=Readiness(report),
            explainer=explainer,
            own_names_only=own_names_only,
            clock=clock,
        )
        app = build(gateway)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers) as client:
            yield Served(
                gateway=gateway,
                producer=producer,
                letters=letters,
                read_model=read_model,
                workflows=workflows,
                sources=sources,
                answers=answers,
                explainer=explainer,
                app=app,
                client=client,
            )

    return serve


@dataclass(frozen=True)
class KafkaRecord:
    """A record as a follower hands it over."""

    key: bytes | None
    value: bytes | None
    partition: int = 0
    offset: int = 0
    timestamp: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


@pytest.fixture
def announced() -> Callable[..., KafkaRecord]:
    """Makes the announcement of a workflow."""

    def make(workflow_id: str, *triggers: str, offset: int = 0, **fields: Any) -> KafkaRecord:
        value = {"id": workflow_id, "triggers": list(triggers), "has_filter": False} | fields
        return KafkaRecord(workflow_id.encode(), orjson.dumps(value), offset=offset)

    return make


@pytest.fixture
def retired() -> Callable[..., KafkaRecord]:
    """Makes the tombstone of a workflow."""
    return lambda workflow_id, offset=0: KafkaRecord(workflow_id.encode(), None, offset=offset)


@pytest.fixture
def set_up() -> Callable[..., KafkaRecord]:
    """Makes the record that sets up a source; further fields are its options, those of `spec` the spec's."""

    def make(
        source_id: str, kind: str = "webhook", *, offset: int = 0, spec: Mapping[str, Any] | None = None, **options: Any
    ) -> KafkaRecord:
        given = {"id": source_id, "kind": kind, "options": options} | dict(spec or {})
        return KafkaRecord(source_id.encode(), orjson.dumps(given), offset=offset)

    return make
