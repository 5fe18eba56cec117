"""headgate.testing: what a test asks of runs, as people do by `headgate runs resume`, `cancel` and `retry`."""

from datetime import timedelta
from typing import Any

import pytest

from headgate import EventTimeout, workflow
from headgate.testing import Service, crashes

LONG = "a key with * and a very long name " * 30


async def booked(what: str) -> str:
    return what


@workflow(id="asks", trigger_on_event="trips/wanted")
async def asks(ctx: Any, payload: Any) -> Any:
    seat = await ctx.step.run("book", booked, "12A")
    try:
        return [seat, await ctx.step.suspend(LONG, timeout=timedelta(days=7))]
    except EventTimeout:
        return "too late"


def asked(service: Service) -> str:
    service.send("trips/wanted", id="trip-1")
    service.advance(hours=1)
    (run,) = service.runs(asks)
    (step,) = run.open_steps
    assert (run.status, step.key, step.kind) == ("waiting", LONG, "suspend")
    return run.run_id


def test_a_suspended_run_is_resumed_with_what_somebody_gives_first_wherever_the_worker_dies() -> None:
    for service in crashes(asks):
        run_id = asked(service)
        resumed = service.resume(run_id, LONG, {"by": "Ann"})
        service.resume(run_id, LONG, {"by": "Bob"})
        assert [one.result for one in service.results()] == [["12A", {"by": "Ann"}]]
        (first, *_) = service.events()[1:]
        assert (first.id, first.topic.startswith(f"headgate/resume/{run_id}/"), first.key) == (resumed, True, run_id)


def test_a_run_is_resumed_with_nothing_before_its_step_is_there() -> None:
    with Service(asks) as service:
        run_id = asked(service)
    with Service(asks) as service:
        service.resume(run_id, LONG)
        service.send("trips/wanted", id="trip-1")
        assert [one.result for one in service.results()] == [["12A", None]]


def test_a_run_is_cancelled_and_one_that_has_ended_stays_as_it_is() -> None:
    with Service(asks) as service:
        run_id = asked(service)
        service.cancel(run_id)
        assert [(one.run_id, one.status) for one in service.runs()] == [(run_id, "cancelled")]
        service.resume(run_id, LONG, 1)
        service.cancel(run_id)
        assert [one.status for one in service.results()] == ["cancelled"]


def test_a_run_that_code_no_longer_fits_is_stuck_until_it_fits_again_and_somebody_asks_for_it() -> None:
    @workflow(id="asks", trigger_on_event="trips/wanted")
    async def changed(ctx: Any, payload: Any) -> Any:
        return await ctx.step.suspend(LONG)

    with Service(asks) as service:
        run_id = asked(service)
        service.restart(changed)
        service.resume(run_id, LONG, 1)
        (run,) = service.runs()
        assert run.status == "stuck"
        assert run.reason is not None
        assert "'book'" in run.reason
        service.retry(run_id)
        assert [one.status for one in service.runs()] == ["stuck"]
        service.restart(asks, after=timedelta(days=30))
        assert [one.status for one in service.runs()] == ["stuck"]
        service.retry(run_id)
        assert [(one.status, one.reason) for one in service.runs()] == [("completed", None)]
        assert [one.result for one in service.results()] == [["12A", 1]]


@pytest.mark.parametrize("wrong", ["asks", "asks:1", None])
def test_what_is_no_run_id_is_told_with_where_to_find_one(wrong: Any) -> None:
    with Service(asks) as service:
        for ask in (service.cancel, service.retry, lambda one: service.resume(one, LONG)):
            with pytest.raises(ValueError, match=r"is no run id: .*; service.runs\(\) has those of runs"):
                ask(wrong)
        assert service.events() == []
