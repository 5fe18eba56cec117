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


async def test_once_all_was_there_it_is_ready_and_says_what_is_missing_now() -> None:
    ups = iter([False, True, False])

    async def check() -> Report:
        return Report(checks={"kafka": Check(up=next(ups))})

    readiness, told = Readiness(check, kept_seconds=-1.0), []
    for _ in range(3):
        report = await readiness.report()
        told.append((report.ready, report.whole, report.checks["kafka"].up))
    assert told == [(False, False, False), (True, True, True), (True, False, False)]


async def test_kafka_is_not_asked_for_every_request() -> None:
    asked = []

    async def check() -> Report:
        asked.append(1)
        return Report()

    readiness = Readiness(check)
    assert await readiness.report() == await readiness.report()
    assert len(asked) == 1
