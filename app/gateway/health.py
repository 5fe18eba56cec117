"""GET /healthz and /readyz: is the process alive, and should it get requests."""

import asyncio
import time
from collections.abc import Awaitable, Callable
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
    """Asks at most once a second: anybody may call /readyz, and each check is a request to Kafka."""

    def __init__(self, check: Callable[[], Awaitable[Report]]) -> None:
        self._check = check
        self._asking = asyncio.Lock()
        self._last: tuple[float, Report] | None = None

    async def report(self) -> Report:
        async with self._asking:
            if self._last is None or time.monotonic() - self._last[0] > KEPT_SECONDS:
                report = await self._check()
                self._last = time.monotonic(), report
            return self._last[1]


@router.get("/healthz", responses={200: {"model": schemas.Alive}})
async def healthz() -> Response:
    """The process answers; nothing else is asked."""
    return Response(b'{"status":"alive"}', media_type=JSON)


@router.get("/readyz", responses={200: {"model": schemas.Ready}, 503: {"model": schemas.Ready}})
async def readyz(request: Request) -> Response:
    """Kafka answers, the topics are there, the read model is attached; 503 says what is missing."""
    report: Report = await request.app.state.gateway.readiness.report()
    return Response(orjson.dumps(report.record()), 200 if report.ready else 503, media_type=JSON)
