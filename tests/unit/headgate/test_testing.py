"""headgate.testing: workflows under test as their authors would write it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from headgate import Reject, RetryLater, workflow
from headgate.testing import DeadLetter, Result, Service, crashes


@workflow(id="charge", trigger_on_event="orders/created")
async def charge(ctx: Any, payload: Any) -> Any:
    order = payload["events"][0]["data"]
    if order["total"] < 0:
        raise Reject("a negative total")
    if ctx.attempt == 1 and order.get("slow"):
        raise RetryLater(timedelta(hours=1))
    await ctx.step.publish_event("announce", topic="orders/charged", data={"order": order["id"]})
    return {"charged": order["id"]}


@workflow(id="mail", trigger_on_event="orders/charged")
def mail(ctx: Any, payload: Any) -> str:
    return f"order {payload['events'][0]['data']['order']}"


def test_what_is_sent_has_run_when_send_returns() -> None:
    with Service(charge, mail) as service:
        event_id = service.send("orders/created", {"id": 7, "total": 5}, key="customer-1", id="order-7")
        assert event_id == "order-7"
        charged, mailed = sorted(service.results(), key=lambda one: one.workflow_id)
        assert charged == Result(
            run_id=charged.run_id,
            workflow_id="charge",
            status="completed",
            result={"charged": 7},
            error=None,
            attempts=1,
            key="customer-1",
        )
        assert (mailed.workflow_id, mailed.result) == ("mail", "order 7")
        assert service.results(mail) == service.results("mail") == [mailed]
        assert [one.topic for one in service.events()] == ["orders/created", "orders/charged"]
        assert [one.data for one in service.events("orders/charged")] == [{"order": 7}]


def test_time_passes_when_it_is_told_to() -> None:
    with Service(charge) as service:
        assert service.now == datetime(2026, 1, 1, tzinfo=UTC)
        service.send("orders/created", {"id": 1, "total": 5, "slow": True})
        service.advance(minutes=59)
        assert service.results() == []
        service.advance(timedelta(minutes=1))
        assert [(one.status, one.attempts) for one in service.results()] == [("completed", 2)]
        assert service.now == datetime(2026, 1, 1, 1, tzinfo=UTC)


def test_a_duplicate_runs_once_and_a_rejected_event_is_a_dead_letter() -> None:
    with Service(charge) as service:
        for _ in range(2):
            service.send("orders/created", {"id": 1, "total": -1}, id="order-1")
        (result,) = service.results()
        assert (result.status, result.error and result.error["message"]) == ("rejected", "a negative total")
        (letter,) = service.dead_letters()
        assert letter == DeadLetter(
            code="run_rejected",
            reason="Reject: a negative total",
            remedy=letter.remedy,
            run_id=result.run_id,
            workflow_id="charge",
            value=letter.value,
        )


def test_a_restart_forgets_nothing() -> None:
    with Service(charge) as service:
        service.send("orders/created", {"id": 1, "total": 5, "slow": True}, id="order-1")
        service.restart()
        service.send("orders/created", {"id": 1, "total": 5, "slow": True}, id="order-1")
        service.advance(hours=2)
        assert [(one.status, one.attempts) for one in service.results()] == [("completed", 2)]


def test_a_reply_goes_to_the_topic_that_the_event_names() -> None:
    with Service(charge, reply_topics=["answers"]) as service:
        service.send("orders/created", {"id": 1, "total": 5}, reply_topic="answers", correlation_id="c-1")
        ((key, _, headers),) = service.records("answers")
        assert (key, dict(headers)["correlation_id"]) == (b"c-1", b"c-1")


def test_the_worker_may_die_at_every_await() -> None:
    lives = 0
    for service in crashes(charge, mail):
        lives += 1
        service.send("orders/created", {"id": 1, "total": 5, "slow": True}, id="order-1")
        service.advance(hours=3)
        assert [(one.workflow_id, one.status) for one in service.results()] == [
            ("charge", "completed"),
            ("mail", "completed"),
        ]
        assert len(service.events("orders/charged")) >= 1
    assert lives > 30


@workflow(schedule="0 * * * *")
def hourly(ctx: Any, payload: Any) -> Any:
    return payload["events"][0]["data"]["scheduled_at"]


def test_a_schedule_runs_once_for_each_instant_wherever_the_worker_dies() -> None:
    lives = 0
    for service in crashes(hourly):
        lives += 1
        service.advance(hours=2)
        service.restart()
        service.advance(hours=1)
        assert [one.result for one in service.results(hourly)] == [
            f"2026-01-01T0{hour}:00:00.000Z" for hour in (1, 2, 3)
        ]
    assert lives > 10


def test_the_plugin_closes_what_a_test_makes(headgate_service: Callable[..., Service]) -> None:
    service = headgate_service(charge, partitions=1)
    service.send("orders/created", {"id": 1, "total": 5})
    assert len(service.results()) == 1
