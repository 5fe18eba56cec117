"""`ctx` as an author sees it: its attributes, its log, and publish_event with its refusals."""

import json
import logging
from typing import Any

import orjson
import pytest

from app.engine.inputs import Happened, StepAsked
from app.engine.tables.run import Run
from app.engine.values.asks import Kind, Note, Outcome, Recorded
from app.engine.values.outgoing import Record
from app.runtime.context import RunContext
from app.runtime.limits import StepLimit, StepLimits
from app.runtime.live import Live
from app.runtime.replay import History
from app.runtime.threads import Threads
from headgate import DuplicateStepKey, HeadgateError
from tests.unit.app.engine.partition import NOW, event, flow
from topics import codec, keys
from topics.malformed import Malformed

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RUN = "charge:0123456789abcdef01234567"


def context(
    *, published: dict[str, str] | None = None, attempt: int = 1, parent: str | None = PARENT, **limits: Any
) -> tuple[RunContext, list[StepAsked]]:
    run = Run(RUN, flow(), (event(3, data={"n": 1}, key="k", traceparent=parent),), None, None, NOW)
    run.attempt = attempt
    reported: list[StepAsked] = []
    live = Live(StepLimits(**({"partitions": 8} | limits)), Threads(1))
    history = None if published is None else History([_published(*one) for one in published.items()])

    def report(given: Happened) -> None:
        assert isinstance(given, StepAsked)
        reported.append(given)

    return RunContext(run, report, live, None, history), reported


def _published(key: str, event_id: str) -> Recorded:
    """As a journal of before there were steps has it: it does not say what was asked for."""
    return Recorded(key=key, kind=Kind.NOTE, about="", outcome=Outcome(orjson.dumps(event_id)))


def note(asked: StepAsked) -> Note:
    assert isinstance(asked.ask, Note)
    return asked.ask


def record_of(asked: StepAsked) -> Record:
    (record,) = note(asked).records
    return record


def test_ctx_knows_its_run() -> None:
    ctx, _ = context(attempt=3)

    assert (ctx.run_id, ctx.workflow_id, ctx.attempt) == (RUN, "charge", 3)
    assert ctx.events == (
        {
            "id": "0-3",
            "sequence_id": "0-3",
            "topic": "orders/created",
            "event_type": None,
            "data": {"n": 1},
            "created_at": "2026-01-31T12:00:00.000Z",
            "key": "k",
        },
    )
    assert ctx.events is ctx.events


def test_a_line_that_is_written_wrongly_costs_nobody_a_run(caplog: pytest.LogCaptureFixture) -> None:
    ctx, _ = context()
    with caplog.at_level(logging.DEBUG):
        ctx.log.info(*("%d of %s", "x"))
        ctx.log.exception("failed", exc_info=False, message="mine")

    first, second = caplog.records
    assert first.getMessage() == "%d of %s ('x',)"
    assert second.getMessage() == "failed"
    assert not second.exc_info
    assert vars(second)["fields"]["message"] == "mine"


def test_the_log_says_which_run_wrote_a_line(caplog: pytest.LogCaptureFixture) -> None:
    ctx, _ = context(attempt=2)
    with caplog.at_level(logging.DEBUG):
        ctx.log.info("charged %d of %s", 7, "c-1", order="o-1", run="mine")
        ctx.log.debug("100 %")
        try:
            raise ValueError("no luck")
        except ValueError:
            ctx.log.exception("failed")

    first, second, third = caplog.records
    assert "charged 7 of c-1" in first.getMessage()
    assert "100 %" in second.getMessage()
    assert third.exc_info is not None
    assert third.levelname == "ERROR"
    for one in caplog.records:
        assert RUN in json.dumps(vars(one), default=str)
    assert "mine" not in json.dumps(vars(first), default=str)


def test_a_step_that_is_not_there_says_so() -> None:
    ctx, _ = context()
    with pytest.raises(HeadgateError) as raised:
        ctx.step.publish("a", 1)
    assert str(raised.value) == (
        "ctx.step.publish in workflow 'charge' does not exist; there are: run, publish_event, send, resume, "
        "wait_for_event, wait_for_any, wait_for_all, sleep, sleep_until, wait_for, wait_until, suspend, uuid, random, "
        "now, invoke, invoke_and_wait, batch_invoke, batch_invoke_and_wait, trace"
    )
    assert not hasattr(ctx.step, "publish")
    assert not hasattr(ctx.step, "__len__")


async def test_publishing_reports_the_record_and_returns_the_id_to_async_and_plain_functions() -> None:
    ctx, reported = context()

    plain: Any = ctx.step.publish_event("tell", topic="orders/charged", data={"n": 1}, event_type="charged")
    awaited = await ctx.step.publish_event("more", topic="orders/charged", data=2, event_key="c-1")

    assert (plain, awaited) == (f"{RUN}:tell", f"{RUN}:more")
    assert type(awaited) is str
    first, second = reported
    assert (first.run_id, first.attempt, first.key) == (RUN, 1, "tell")
    assert (note(first).value, note(first).quiet) == (orjson.dumps(f"{RUN}:tell"), True)
    assert (record_of(first).topic, record_of(first).key, record_of(first).foreign) == ("events", None, False)
    assert record_of(first).partition == keys.partition_of(f"{RUN}:tell".encode(), 8)
    assert orjson.loads(record_of(first).value or b"") == {
        "topic": "orders/charged",
        "event_type": "charged",
        "id": f"{RUN}:tell",
        "data": {"n": 1},
    }
    assert dict(record_of(first).headers) == {
        "source": b"headgate/charge",
        "traceparent": b"00-0af7651916cd43dd8448eb211c80319c-0123456789abcdef-01",
        "causation_id": RUN.encode(),
        "causation_step": b"tell",
        "causation_event": event(3).id.encode(),
    }
    assert (record_of(second).key, record_of(second).partition) == (b"c-1", keys.partition_of(b"c-1", 8))


def test_a_step_that_happened_gives_its_id_and_happens_no_more() -> None:
    ctx, reported = context(published={"tell": "its id"}, attempt=2)

    assert ctx.step.publish_event("tell", topic="told", data=1) == "its id"
    assert reported == []
    with pytest.raises(DuplicateStepKey):
        ctx.step.publish_event("tell", topic="told", data=1)


def test_a_repeated_key_names_both_places() -> None:
    ctx, reported = context()
    step = ctx.step
    step.publish_event("tell", topic="told", data=1)
    first = here() - 1
    with pytest.raises(DuplicateStepKey) as caught:
        step.publish_event("tell", topic="told", data=2)
    second = here() - 1

    assert (caught.value.first_place, caught.value.second_place) == (f"{__file__}:{first}", f"{__file__}:{second}")
    assert f"{__file__}:{first} and again at {__file__}:{second}" in str(caught.value)
    assert len(reported) == 1


def here() -> int:
    import sys

    return sys._getframe(1).f_lineno


@pytest.mark.parametrize("key", ["", None, 7, b"x", ["a"]])
def test_a_step_without_a_text_for_a_key_is_refused(key: Any) -> None:
    ctx, reported = context()

    with pytest.raises(HeadgateError, match="give each step of a run a text of its own"):
        ctx.step.publish_event(key, topic="told", data=1)
    assert reported == []


@pytest.mark.parametrize("used", [True, False], ids=["that had steps", "that never had one"])
def test_a_step_after_the_function_returned_is_refused(used: bool) -> None:
    ctx, reported = context()
    step = ctx.step if used else None
    ctx.close(returned=True)
    step = step or ctx.step

    with pytest.raises(HeadgateError, match=r"was called after run .* had returned; await every step before returning"):
        step.publish_event("tell", topic="told", data=1)
    assert reported == []


def test_a_context_whose_steps_were_never_used_can_be_closed() -> None:
    ctx, reported = context()
    ctx.close(returned=True)

    assert reported == []


def test_a_run_may_have_so_many_steps() -> None:
    ctx, reported = context(steps=2)
    ctx.step.publish_event("a", topic="told", data=1)
    ctx.step.publish_event("b", topic="told", data=1)

    with pytest.raises(StepLimit, match=r"has more than 2 steps \(limits.steps_per_run\)"):
        ctx.step.publish_event("c", topic="told", data=1)
    assert len(reported) == 2


@pytest.mark.parametrize("event_key", [None, "customer-1"])
def test_an_event_is_as_large_as_its_reader_will_find_it(event_key: str | None) -> None:
    data = "x" * 500
    ctx, reported = context()
    ctx.step.publish_event("tell", topic="told", data=data, event_key=event_key)
    record = record_of(reported[0])
    size = codec.decode(
        record.value, record.key, record.headers, partition=0, offset=0, timestamp_ms=NOW, max_bytes=None
    ).size

    fits, found = context(event_bytes=size)
    fits.step.publish_event("tell", topic="told", data=data, event_key=event_key)
    assert len(found) == 1
    tight, none = context(event_bytes=size - 1)
    with pytest.raises(StepLimit, match=f"has {size} bytes, more than the {size - 1} of limits.event_bytes"):
        tight.step.publish_event("tell", topic="told", data=data, event_key=event_key)
    assert none == []


@pytest.mark.parametrize(
    "wrong",
    [{"topic": ""}, {"topic": 7}, {"data": object()}, {"event_key": "k" * 1025}, {"event_type": "\n"}],
)
def test_an_event_that_no_reader_would_take_is_refused_where_it_is_published(wrong: dict[str, Any]) -> None:
    ctx, reported = context()
    given: dict[str, Any] = {"topic": "told", "data": 1} | wrong

    with pytest.raises(Malformed):
        ctx.step.publish_event("tell", **given)
    assert reported == []


@pytest.mark.parametrize("text", ["{", '1,"id":"another"'])
def test_an_event_with_a_broken_fragment_is_refused_where_it_is_published(text: str) -> None:
    ctx, reported = context()

    with pytest.raises(Malformed, match=r"the data of the event has an orjson\.Fragment that is not JSON"):
        ctx.step.publish_event("tell", topic="told", data=orjson.Fragment(text))
    assert reported == []
    ctx.step.publish_event("more", topic="told", data={"a": orjson.Fragment("[1]")})
    assert b'"data":{"a":[1]}' in (record_of(reported[0]).value or b"")


def test_an_event_of_a_run_without_a_trace_begins_one() -> None:
    ctx, reported = context(parent=None)
    ctx.step.publish_event("tell", topic="told", data=1)

    assert (
        dict(record_of(reported[0]).headers)["traceparent"]
        == b"00-0123456789abcdef0123456701234567-0123456789abcdef-01"
    )
