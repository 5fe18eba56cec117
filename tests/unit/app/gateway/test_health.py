"""Alive and ready."""

from typing import Any

from app.gateway.health import Readiness
from app.observe.health import Check, Report


async def test_ready_says_what_is_missing_and_what_to_do(serve: Any) -> None:
    checks = {"kafka": Check(up=False, detail="refused", remedy="Start it"), "workflows": Check(up=True)}
    async with serve(checks=checks) as served:
        answer = await served.client.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            503,
            {
                "ready": False,
                "checks": {
                    "kafka": {"up": False, "detail": "refused", "remedy": "Start it"},
                    "workflows": {"up": True},
                },
            },
        )
        alive = await served.client.get("/healthz")
        assert (alive.status_code, alive.json()) == (200, {"status": "alive"})


async def test_ready_is_200_when_everything_is_there(serve: Any) -> None:
    async with serve() as served:
        answer = await served.client.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (200, True)


async def test_kafka_is_not_asked_for_every_request() -> None:
    asked = []

    async def check() -> Report:
        asked.append(1)
        return Report()

    readiness = Readiness(check)
    assert await readiness.report() == await readiness.report()
    assert len(asked) == 1
