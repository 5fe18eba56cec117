"""headgate.testing: workflows under test as their authors would write it."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headgate import Reject, RetryLater, workflow
from headgate.errors import ChildError, EventTimeout, StepError
from headgate.testing import DeadLetter, Result, Service, crashes
from topics import keys


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


def test_time_is_given_in_seconds_or_as_a_timedelta() -> None:
    with Service(charge) as service:
        service.advance(10)
        service.advance(0.5, minutes=1)
        service.advance(None)
        service.advance(timedelta(hours=1), seconds=1.5)
        assert service.now == datetime(2026, 1, 1, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("given", ["10", True, [1]])
def test_what_is_no_time_is_told_with_what_to_give(given: Any) -> None:
    with Service(charge) as service:
        message = f"delay is {given!r}; give seconds or a timedelta, for example 30 or timedelta(hours=1)"
        with pytest.raises(TypeError, match=re.escape(message)):
            service.advance(given)


@pytest.mark.parametrize("seconds", [-1.0, float("inf"), float("nan")])
def test_time_does_not_go_back_nor_on_for_ever(seconds: float) -> None:
    with Service(charge) as service:
        with pytest.raises(ValueError, match=re.escape(f"{seconds} seconds were to pass; ")):
            service.advance(seconds)
        with pytest.raises(ValueError, match="seconds were to pass; "):
            service.advance(hours=-1)


@workflow(id="renews", trigger_on_event="contracts/signed")
async def renews(ctx: Any, payload: Any) -> Any:
    await ctx.step.sleep("a year", days=365)
    await ctx.step.sleep("a moment", 0.5)
    return "renewed"


def test_a_year_passes_as_a_minute_does() -> None:
    with Service(renews) as service:
        service.send("contracts/signed")
        service.advance(days=365)
        assert service.results() == []
        service.advance(seconds=0.5)
        assert [one.result for one in service.results()] == ["renewed"]


@workflow(id="expires", trigger_on_event="contracts/filed")
async def expires(ctx: Any, payload: Any) -> Any:
    await ctx.step.sleep("ten years", days=3_650)
    return "expired"


def test_ten_years_pass_also_over_the_death_of_the_worker() -> None:
    with Service(expires) as service:
        service.send("contracts/filed")
        service.advance(days=3_000)
        service.restart(after=timedelta(days=600))
        service.advance(days=49.9)
        assert service.results() == []
        service.advance(days=0.2)
        assert [one.result for one in service.results()] == ["expired"]


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


async def free() -> str:
    return "12A"


def turns_of(hours: int) -> int:
    """Test three steps, a wait among them, whose time of so many hours is over; return what it cost."""

    @workflow(trigger_on_event="trips/wanted")
    async def trip(ctx: Any, payload: Any) -> Any:
        seat = await ctx.step.run("book", free)
        try:
            return await ctx.step.wait_for_event("approved", "trips/approved", timeout=hours * 3600)
        except EventTimeout:
            return await ctx.step.run("cancel", free) == seat

    with Service(trip) as service:
        service.send("trips/wanted", {"to": "Oslo"})
        service.advance(hours=hours)
        assert [one.result for one in service.results(trip)] == [True]
        return service._inner.turns


def test_three_steps_and_a_wait_of_an_hour_cost_some_hundred_turns_of_the_loop_and_a_day_hardly_more() -> None:
    """The time that a test takes is theirs: docs/reference/workflows.md names what was measured for this many."""
    assert turns_of(1) <= 130
    assert turns_of(24) <= 200


def test_a_restart_forgets_nothing() -> None:
    with Service(charge) as service:
        service.send("orders/created", {"id": 1, "total": 5, "slow": True}, id="order-1")
        service.restart()
        service.send("orders/created", {"id": 1, "total": 5, "slow": True}, id="order-1")
        service.advance(hours=2)
        assert [(one.status, one.attempts) for one in service.results()] == [("completed", 2)]


def test_a_restart_may_bring_other_code_and_what_no_longer_runs_sleeps_until_it_is_back() -> None:
    @workflow(id="mail", trigger_on_event="orders/charged")
    def changed(ctx: Any, payload: Any) -> str:
        return "changed"

    with Service(charge, mail) as service:
        service.send("orders/created", {"id": 1, "total": 5, "slow": True})
        service.restart(changed)
        service.advance(hours=2)
        assert service.results() == []
        service.send("orders/charged", {"order": 0})
        assert [one.result for one in service.results()] == ["changed"]
        service.restart()
        service.restart(charge, mail)
        assert [one.result for one in service.results()] == ["changed", {"charged": 1}, "order 1"]


@pytest.mark.parametrize(("catch_up", "hours"), [("skip", []), ("once", [3]), ("all", [1, 2, 3])])
def test_time_passes_while_nothing_runs_and_a_schedule_catches_up(catch_up: str, hours: list[int]) -> None:
    @workflow(schedule={"cron": "0 * * * *", "catch_up": catch_up})
    async def due(ctx: Any, payload: Any) -> Any:
        return payload["events"][0]["data"]["scheduled_at"]

    with Service(due) as service:
        service.restart(after=timedelta(hours=3, minutes=30))
        assert service.now == datetime(2026, 1, 1, 3, 30, tzinfo=UTC)
        assert [one.result for one in service.results()] == [f"2026-01-01T0{hour}:00:00.000Z" for hour in hours]
        service.advance(minutes=30)
        assert [int(one.result[11:13]) for one in service.results()] == [*hours, 4]


def test_what_falls_due_while_nothing_runs_is_late_wherever_the_worker_dies() -> None:
    for service in crashes(charge, waits_plainly):
        service.send("orders/created", {"id": 1, "total": 5, "slow": True}, id="order-1")
        service.restart(after=7_200)
        service.send("orders/paid", {"sum": 5}, id="paid-1")
        assert {one.workflow_id: one.result for one in service.results()} == {
            "charge": {"charged": 1},
            "waits_plainly": {"sum": 5},
        }


def test_what_is_no_workflow_or_no_span_is_told_and_nobody_dies() -> None:
    with pytest.raises(TypeError, match=r"free at .* is no workflow; give functions that have @workflow"):
        Service(free)  # type: ignore[arg-type]
    with Service(charge) as service:
        with pytest.raises(TypeError, match="after is 'soon'; give seconds or a timedelta"):
            service.restart(after="soon")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="3600 is no workflow"):
            service.restart(3_600)  # type: ignore[arg-type]
        service.send("orders/created", {"id": 1, "total": 5})
        assert len(service.results()) == 1


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


# --- children, cancel, retry, failures ------------------------------------------------------------------------------


@workflow(id="ship")
async def ship(ctx: Any, payload: Any) -> Any:
    item = payload["events"][0]["data"]["item"]
    if item == "elephant":
        raise Reject("too heavy")
    await ctx.step.sleep("pack", 60)
    return {"shipped": item}


@workflow(id="order", trigger_on_event="carts/closed", order="strict")
async def order(ctx: Any, payload: Any) -> Any:
    items = payload["events"][0]["data"]
    alone = await ctx.step.invoke("alone", "ship", {"item": "letter"})
    first = await ctx.step.invoke_and_wait("first", ship, {"item": items[0]})
    try:
        rest = await ctx.step.batch_invoke_and_wait("rest", [(ship, {"item": one}) for one in items[1:]])
    except ChildError as error:
        rest = [error.workflow_id, error.status, error.error_type, error.number, list(error.results)]
    return [alone, first, rest]


def test_a_parent_gets_what_its_children_came_to_wherever_the_worker_dies() -> None:
    lives = 0
    for service in crashes(order, ship):
        lives += 1
        service.send("carts/closed", ["book", "pen", "elephant"], id="cart-1")
        service.advance(hours=1)
        (parent,) = service.results(order)
        shipped = [one.result["shipped"] for one in service.results(ship) if one.result]
        assert sorted(shipped) == ["book", "letter", "pen"]
        (alone,) = [one.run_id for one in service.results(ship) if one.result == {"shipped": "letter"}]
        rest = ["ship", "rejected", "Reject", 1, [{"shipped": "pen"}, None]]
        assert parent.result == [alone, {"shipped": "book"}, rest]
        assert len(service.results(ship)) == 4
    assert lives > 30


@workflow(id="lost", trigger_on_event="carts/lost")
async def lost(ctx: Any, payload: Any) -> Any:
    await ctx.step.invoke_and_wait("nobody", "nobody", {})


def test_a_child_that_nobody_knows_is_an_error_and_no_hang() -> None:
    with Service(lost) as service:
        service.send("carts/lost")
        (letter,) = [one for one in service.dead_letters() if one.code == "no_such_workflow"]
        assert letter.workflow_id == "nobody"
        service.advance(hours=1)
        (result,) = service.results()
        assert (result.status, result.error and result.error["type"]) == ("failed", "ChildError")


@workflow(id="approve", trigger_on_event="requests/made", cancel_on="requests/withdrawn", order="none")
async def approve(ctx: Any, payload: Any) -> Any:
    try:
        event = await ctx.step.wait_for_event("approval", "requests/approved", timeout=3_600)
    except asyncio.CancelledError:
        STOPPED.append(ctx.run_id)
        raise
    return event["data"]


STOPPED: list[str] = []


def test_a_run_is_cancelled_by_its_id_or_by_an_event_of_its_key_wherever_the_worker_dies() -> None:
    for service in crashes(approve):
        ids = [service.send("requests/made", key=key, id=f"r-{key}") for key in ("a", "b", "c")]
        assert ids == ["r-a", "r-b", "r-c"]
        first = keys.run_id("approve", keys.event_digest("", "a", "r-a"))
        service.send("headgate/cancel", key=first, id="cancel-1")
        service.send("requests/withdrawn", key="b", id="cancel-2")
        service.send("headgate/cancel", key="approve:000000000000000000000001")
        service.send("requests/approved", "yes", id="yes")
        service.advance(hours=2)
        found = {one.key: (one.status, one.result) for one in service.results()}
        assert found == {"a": ("cancelled", None), "b": ("cancelled", None), "c": ("completed", "yes")}
        assert len(service.results()) == 3
        assert service.dead_letters() == []


@workflow(
    id="deliver",
    trigger_on_event="parcels/packed",
    cancel_on="parcels/changed",
    cancel_filter=lambda event: event["data"]["status"] == "withdrawn",
)
async def deliver(ctx: Any, payload: Any) -> Any:
    await ctx.step.sleep("fetched", 3_600)
    return "delivered"


def test_the_filter_of_cancel_on_decides_by_the_event_wherever_the_worker_dies() -> None:
    for service in crashes(deliver):
        for key, status in (("a", "weighed"), ("b", "withdrawn")):
            service.send("parcels/packed", key=key, id=f"p-{key}")
            service.send("parcels/changed", {"status": status}, key=key, id=f"c-{key}")
        service.advance(hours=2)
        found = {one.key: (one.status, one.result) for one in service.results()}
        assert found == {"a": ("completed", "delivered"), "b": ("cancelled", None)}
        assert service.dead_letters() == []


def test_the_function_of_a_cancelled_run_is_stopped() -> None:
    STOPPED.clear()
    with Service(approve) as service:
        service.send("requests/made", key="a", id="r-a")
        run = keys.run_id("approve", keys.event_digest("", "a", "r-a"))
        service.send("headgate/cancel", key=run)
        assert [one.status for one in service.results()] == ["cancelled"]
        assert STOPPED == [run]


BROKEN: list[bool] = []


@workflow(id="changes", trigger_on_event="changes/made")
async def changes(ctx: Any, payload: Any) -> Any:
    await ctx.step.sleep("other" if BROKEN else "nap", 60)
    return "done"


def test_a_stuck_run_goes_on_when_somebody_asks_for_it() -> None:
    BROKEN.clear()
    with Service(changes) as service:
        service.send("changes/made", key="k", id="c-1")
        BROKEN.append(True)
        service.restart()
        service.advance(hours=1)
        assert service.results() == []
        BROKEN.clear()
        service.advance(hours=1)
        assert service.results() == []
        run = keys.run_id("changes", keys.event_digest("", "k", "c-1"))
        service.send("headgate/retry", key=run)
        assert [(one.status, one.result) for one in service.results()] == [("completed", "done")]


@workflow(id="support")
async def support(ctx: Any, payload: Any) -> Any:
    told = payload["events"][0]["data"]
    return [told["workflow_id"], told["status"], told["error"]["message"], [one["data"] for one in told["events"]]]


@workflow(id="fragile", trigger_on_event="glasses/filled", on_failure=support, max_retries=1)
async def fragile(ctx: Any, payload: Any) -> Any:
    raise ValueError(f"broken in attempt {ctx.attempt}")


def test_what_a_workflow_names_on_failure_is_started_once_wherever_the_worker_dies() -> None:
    for service in crashes(fragile, support):
        service.send("glasses/filled", {"glass": 1}, id="g-1")
        service.advance(hours=1)
        assert [one.result for one in service.results(support)] == [
            ["fragile", "failed", "broken in attempt 2", [{"glass": 1}]]
        ]
        assert [one.status for one in service.results(fragile)] == ["failed"]


@workflow(id="waits_plainly", trigger_on_event="orders/created")
def waits_plainly(ctx: Any, payload: Any) -> Any:
    ctx.step.sleep("pause", 3_600)
    return ctx.step.wait_for_event("paid", "orders/paid", timeout=60).data


def test_plain_functions_wait_while_time_passes() -> None:
    with Service(waits_plainly) as service:
        service.send("orders/created", {"id": 1})
        service.send("orders/created", {"id": 2})
        service.advance(hours=1)
        assert service.results() == []
        service.send("orders/paid", {"sum": 5})
        assert [one.result for one in service.results()] == [{"sum": 5}, {"sum": 5}]


def test_a_plain_function_may_still_wait_when_its_service_ends() -> None:
    with Service(waits_plainly) as service:
        service.send("orders/created", {"id": 1})
        service.advance(minutes=1)
        assert service.results() == []


@workflow(id="says", trigger_on_event="guests/came")
async def says(ctx: Any, payload: Any) -> Any:
    sent = []
    for place in ("bot", "slack"):
        try:
            sent.append(await ctx.sources.send(f"tell {place}", place, {"text": payload["events"][0]["data"]}))
        except StepError as error:
            sent.append(error.message)
    return sent


def test_what_runs_send_through_sources_is_seen_and_answered() -> None:
    with Service(says) as service:
        service.send("guests/came", "Ada")
        (first,) = service.sent()
        assert (first.source, first.message) == ("bot", {"text": "Ada"})
        service.answer(first, {"ts": "1.2"})
        assert service.sent("bot") == [first]
        (second,) = service.sent("slack")
        service.answer(second, error="not in channel")
        (result,) = service.results()
        assert result.result[0] == {"ts": "1.2"}
        assert "not in channel" in result.result[1]


def test_a_message_is_seen_once_wherever_the_worker_dies() -> None:
    for service in crashes(says):
        service.send("guests/came", "Ada", id="1")
        for _ in range(2):
            for one in service.sent():
                service.answer(one, one.source)
        service.advance(seconds=1)
        assert [one.message for one in service.sent()] == [{"text": "Ada"}] * 2
        assert [one.result for one in service.results()] == [["bot", "slack"]]


def test_a_batch_of_no_children_has_no_results_wherever_the_worker_dies() -> None:
    @workflow(id="fans_out", trigger_on_event="albums/new")
    async def fans_out(ctx: Any, payload: Any) -> Any:
        return [await ctx.step.batch_invoke_and_wait("wait", []), await ctx.step.batch_invoke("go", [])]

    for service in crashes(fans_out):
        service.send("albums/new", {})
        assert [one.result for one in service.results()] == [[[], []]]
