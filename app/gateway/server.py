"""The gateway as one ASGI application, and the server that runs it.

A request passes the entrance (how many at once, who asks, how long it took), then the routes of events, webhooks and
calls, or FastAPI.
`app.wiring.gateway` builds and serves it; `headgate dev` does so through the same function.
"""

import asyncio
import contextlib
import hmac
import math
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from app.gateway import (
    calls,
    connections,
    errors,
    events,
    explain,
    health,
    hooks,
    openapi,
    runs,
    sources,
    webhooks,
    workflows,
)
from app.gateway.accepted import Accepted
from app.gateway.errors import Problem
from app.gateway.limits import InFlight, TokenBucket
from app.gateway.metrics import Metrics, page
from app.settings import GatewaySettings, LimitSettings

OPENAPI_PATH: Final = "/api/v1/openapi.json"
UNCOUNTED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Answered however many requests are in flight: a gateway that is full is neither dead nor without figures."""
BACKLOG: Final = 2048
_OWN_NAME: Final = re.compile(r"(?:(?:[a-z0-9-]+\.)*localhost|[0-9.]+|\[[0-9a-f:.]+\])(?::\d*)?", re.ASCII)
"""Addresses as well: nobody gives those away."""
DRAIN_SECONDS: Final = 20

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """All that the routes need. Built by wiring; tests build it with twins in memory."""

    settings: GatewaySettings
    limits: LimitSettings
    token: str
    producer: events.Producer
    letters: events.Producer
    """Of dead letters, which deliveries become that a source's own filter fails on."""
    workflows: workflows.Workflows
    sources: sources.Sources
    read_model: runs.ReadModel
    answers: calls.Answers
    readiness: health.Readiness
    explainer: explain.Explainer
    metrics: Metrics = field(default_factory=Metrics)
    flight: InFlight = field(default_factory=InFlight)
    accepted: Accepted = field(default_factory=Accepted)
    clock: Callable[[], float] = time.monotonic
    own_names_only: bool = False
    """Whether the API is closed to requests for other names than this machine's own. Needed where everybody knows the
    token: else a page of a stranger's, whose name leads here by then, could call from within a developer's browser."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by `serve` once it takes no more requests: calls that wait are answered then."""


def describe() -> dict[str, Any]:
    """The OpenAPI document, for the docs."""
    return _routes().openapi()


def _routes() -> FastAPI:
    """All routes but the event route."""
    api = FastAPI(
        title="Headgate",
        version="1",
        openapi_url=OPENAPI_PATH,
        docs_url=None,  # its page would load scripts from other hosts
        redoc_url=None,
        redirect_slashes=False,  # a redirect has no words, and not every client repeats its body
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={
            Problem: errors.answer_problem,
            HTTPException: errors.answer_http,
            RequestValidationError: errors.answer_invalid_query,
            Exception: errors.answer_crash,
        },
    )
    api.router.routes.append(Route("/metrics", page, methods=["GET"]))
    for router in (calls.router, workflows.router, sources.router, runs.router, explain.router, health.router):
        api.include_router(router)
    openapi.complete(api)
    return api


def build(gateway: Gateway) -> "Entrance":
    """Put the routes together."""
    api = _routes()
    rate = gateway.settings.rate_limit_per_second
    bucket = None if rate is None else TokenBucket(rate, gateway.clock)
    endpoint = events.Endpoint(
        producer=gateway.producer,
        workflows=gateway.workflows,
        bounds=events.Bounds(
            body_bytes=gateway.settings.max_body_bytes,
            events=gateway.settings.max_events,
            event_bytes=min(gateway.limits.event_bytes, events.MOST_BYTES),
        ),
        flight=gateway.flight,
        bucket=bucket,
        metrics=gateway.metrics,
    )
    api.router.routes.append(Route(events.PATH, endpoint, methods=["POST"]))
    called = webhooks.Endpoint(
        webhooks.Around(
            sources=gateway.sources,
            producer=gateway.producer,
            letters=gateway.letters,
            body_bytes=gateway.settings.max_body_bytes,
            flight=gateway.flight,
            bucket=bucket,
            metrics=gateway.metrics,
        )
    )
    api.state.gateway = gateway
    api.state.bucket = bucket
    gateway.metrics.watch(
        in_flight=lambda: gateway.flight.requests, pending_bytes=lambda: gateway.producer.pending_bytes
    )
    gateway.metrics.watch_read_model(
        behind_records=lambda: int(gateway.read_model.freshness()["behind_records"]),
        behind_seconds=lambda: float(gateway.read_model.freshness()["behind_seconds"]),
    )
    return Entrance(api, endpoint, called, gateway)


class Entrance:
    """What every request passes first. The token is checked before anything of the body is asked for."""

    def __init__(self, api: FastAPI, endpoint: events.Endpoint, called: webhooks.Endpoint, gateway: Gateway) -> None:
        self.api = api
        self._endpoint, self._called = endpoint, called
        self._flight, self.metrics = gateway.flight, gateway.metrics
        self.stopping = gateway.stopping
        self._authorization = b"Bearer " + gateway.token.encode()
        self._own_names_only = gateway.own_names_only

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return await self.api(scope, receive, send)
        started, status, answered = time.perf_counter(), 500, False
        path: str = scope["path"]

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], True
            await send(message)

        entered = False
        try:
            if path not in UNCOUNTED:
                self._flight.enter()
                entered = True
            if path.startswith("/api/") and path != OPENAPI_PATH:
                self._authenticate(scope)
                if self._own_names_only:
                    _check_host(scope)
            # The hot routes go past FastAPI's middleware, which costs as much as all the rest of a request.
            if path == events.PATH and scope["method"] == "POST":
                await self._endpoint(scope, receive, noted)
            elif path.startswith(hooks.PREFIX):
                await self._called(scope, receive, noted)
            elif scope["method"] == "POST" and (workflow_id := calls.workflow_of(path)) is not None:
                scope["app"] = self.api
                request = Request(scope, receive)
                wait = request.query_params.get("wait", calls.USUAL_WAIT)
                response = await calls.call_workflow(request, workflow_id, wait)
                await response(scope, receive, noted)
            else:
                await self.api(scope, receive, noted)
        except Problem as problem:
            await problem.response()(scope, receive, noted)
        except Exception as error:
            # FastAPI answers its own; the server logs the traceback.
            if not answered:
                response = await errors.answer_crash(Request(scope), error)
                await response(scope, receive, noted)
            raise
        finally:
            if entered:
                self._flight.leave()
            self.metrics.answered(_route(scope, path), status, time.perf_counter() - started)
        return None

    def _authenticate(self, scope: Scope) -> None:
        given = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                given = value
                break
        scheme, _, token = given.partition(b" ")
        if not hmac.compare_digest(b"Bearer " + token.strip(), self._authorization) or scheme.lower() != b"bearer":
            fact = "The token is not the gateway's." if given else "The request has no token."
            raise Problem(
                401,
                "unauthorized",
                fact,
                remedy="Send the header `Authorization: Bearer <token>` with the value of gateway.token.",
                headers={"WWW-Authenticate": "Bearer"},
            )


def _check_host(scope: Scope) -> None:
    """Refuse a request for a name that somebody's DNS has given to this machine (DNS rebinding). Raises Problem."""
    for name, value in scope["headers"]:
        if name == b"host" and _OWN_NAME.fullmatch(host := value.decode("latin-1").lower()) is None:
            raise Problem(
                403,
                "foreign_name",
                f"The request is for {host[:100]!r}, and with the token of development only this machine is answered.",
                remedy="Call 127.0.0.1 or localhost, or set a token of your own: HEADGATE_GATEWAY_TOKEN.",
            )


def _route(scope: Scope, path: str) -> str:
    """The route's template: a label for metrics must not have as many values as there are paths."""
    if path == events.PATH:
        return path
    if path.startswith(hooks.PREFIX):
        return webhooks.ROUTE
    if scope["method"] == "POST" and calls.workflow_of(path) is not None:
        return calls.ROUTE
    return str(getattr(scope.get("route"), "path", "other"))


class _Server(uvicorn.Server):
    """uvicorn, without its own handlers of signals: the process belongs to whoever called `serve`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind(settings: GatewaySettings) -> socket.socket:
    """Take the port. Raises OSError when it is taken."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host.strip("[]"), settings.port))
        listening.listen(BACKLOG)
        listening.settimeout(0)
    except OSError:
        listening.close()
        raise
    return listening


async def serve(
    app: Entrance, listening: socket.socket, *, stop: asyncio.Event, bounds: connections.Bounds | None = None
) -> None:
    """Answer requests on a bound socket until `stop`; then take no more, finish those in flight, and return."""
    bounds = bounds or connections.for_this_process()
    server = _Server(
        uvicorn.Config(
            app,
            http=connections.bounded(bounds, app.metrics.refused),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # nothing here asks who the client is
            timeout_keep_alive=math.ceil(bounds.idle_seconds) + 1,  # `connections.sweep` is sooner
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    sweeping = asyncio.create_task(connections.sweep(server.server_state.connections, bounds))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        app.stopping.set()
        server.should_exit = True
        await serving
    finally:
        stopping.cancel()
        if not serving.done():
            server.should_exit = server.force_exit = True
            await serving
        sweeping.cancel()
