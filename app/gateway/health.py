"""GET /healthz and /readyz: is the process alive, and should it get requests."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from app.gateway import schemas
from app.gateway.errors import JSON
from app.observe.health import Report

KEPT_SECONDS: Final = 1.0

router = APIRouter()


class Readiness:
    """Asks at most once a second: anybody may call /readyz, and each check is a request to Kafka.

    Once everything was up the gateway is ready for as long as it lives. While Kafka is away it answers 503 and when to
    come again; taken out of service, as all gateways would be at once, its clients would find nobody who does.
    """

    def __init__(self, check: Callable[[], Awaitable[Report]], *, kept_seconds: float = KEPT_SECONDS) -> None:
        self._check = check
        self._kept_seconds = kept_seconds
        self._served = False
        self._asking = asyncio.Lock()
        self._last: tuple[float, Report] | None = None

    async def report(self) -> Report:
        async with self._asking:
            if self._last is None or time.monotonic() - self._last[0] > self._kept_seconds:
                report = await self._check()
                self._served = self._served or report.ready
                self._last = time.monotonic(), replace(report, served=self._served)
            return self._last[1]


@router.get("/healthz", responses={200: {"model": schemas.Alive}})
async def healthz() -> Response:
    """The process answers; nothing else is asked."""
    return Response(b'{"status":"alive"}', media_type=JSON)


@router.get("/readyz", responses={200: {"model": schemas.Ready}, 503: {"model": schemas.Ready}})
async def readyz(request: Request) -> Response:
    """Kafka has answered, the topics were there, the read model was attached; before that 503. Each check is as it is
    now, with what is missing.
    """
    report: Report = await request.app.state.gateway.readiness.report()
    return Response(orjson.dumps(report.record()), 200 if report.ready else 503, media_type=JSON)
