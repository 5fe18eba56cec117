"""What each method of `ctx.step` asks of the engine, makes of the outcome, and refuses."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
import pytest
import pytest_asyncio

from app.engine.values.asks import Await, Child, EventCondition, Invoke, Kind, Note, Outcome, Recorded, Sleep, Suspend
from app.runtime import attempt
from app.runtime.steps import Steps
from headgate import ChildError, Met, Step, after, event_on, workflow
from tests.unit.app.engine.partition import NOW, event
from tests.unit.app.runtime.standin import Engine, driver, met, run_of, value
from topics.keys import run_id
from topics.reserved import resume_topic

HOUR = 3_600_000
YEAR = datetime(2026, 1, 1, tzinfo=UTC)
Do = Callable[[Any], Any]
Play = Callable[..., Any]


@workflow("child", "children/wanted")
async def child(ctx: Any) -> None: ...


@pytest_asyncio.fixture
async def play() -> AsyncIterator[Play]:
    """Runs a workflow of one step; `outcome` is what the step comes to where the engine in miniature does not know."""
    engines: list[Engine] = []

    async def played(do: Do, outcome: Outcome | None = None, **limits: Any) -> tuple[Engine, Any]:
        async def one(ctx: Any) -> Any:
            found = await do(ctx.step)
            return [type(found).__name__, list(found) if isinstance(found, Met) else found]

        engine = Engine(run_of(one), driver(**limits))
        engines.append(engine)
        await engine.start()
        if outcome is not None:
            await engine.until(lambda: engine.asked or engine.ended)
            if engine.ended is None:
                await engine.resolve(engine.asked[0].key, outcome)
        ended = await engine.until_ended()
        return engine, ended.failure if ended.failure is not None else orjson.loads(ended.result or b"")

    yield played
    for one in engines:
        one.driver.close()


def test_the_steps_are_those_that_are_promised_with_the_same_arguments() -> None:
    promised = {name: one for name, one in vars(Step).items() if not name.startswith("_")}
    there = {name: one for name, one in vars(Steps).items() if not name.startswith("_")}

    def shape(one: Any) -> list[tuple[str, Any, Any]]:
        return [(p.name, p.kind, p.default) for p in inspect.signature(one).parameters.values()]

    assert {name: shape(one) for name, one in there.items()} == {name: shape(one) for name, one in promised.items()}


EVENT = event(5, "orders/paid", {"n": 1}, id="e1")
PAYLOAD = EVENT.payload()


@pytest.mark.parametrize(
    ("do", "about", "ask"),
    [
        (lambda step: step.sleep("k", 5), "sleep", Sleep(until_ms=NOW + 5_000)),
        (lambda step: step.sleep("k", timedelta(hours=1)), "sleep", Sleep(until_ms=NOW + HOUR)),
        (lambda step: step.sleep("k", minutes=30, hours=0.5), "sleep", Sleep(until_ms=NOW + HOUR)),
        (lambda step: step.sleep("k", timedelta(minutes=30), minutes=30), "sleep", Sleep(until_ms=NOW + HOUR)),
        (lambda step: step.wait_for("k", 1800, minutes=30), "sleep", Sleep(until_ms=NOW + HOUR)),
        (lambda step: step.wait_for("k", minutes=30, seconds=1800), "sleep", Sleep(until_ms=NOW + HOUR)),
        (lambda step: step.wait_for("k", days=1, weeks=1), "sleep", Sleep(until_ms=NOW + 8 * 24 * HOUR)),
        (
            lambda step: step.sleep_until("k", datetime.fromtimestamp(NOW / 1000 + 3600, UTC)),
            "sleep_until",
            Sleep(until_ms=NOW + HOUR),
        ),
        (
            lambda step: step.wait_until("k", datetime.fromtimestamp(NOW / 1000 + 3600, UTC)),
            "sleep_until",
            Sleep(until_ms=NOW + HOUR),
        ),
        (lambda step: step.suspend("k"), "suspend", Suspend(data=b"null", deadline_ms=None)),
        (
            lambda step: step.suspend("k", {"a": 1}, timeout=3600),
            "suspend",
            Suspend(data=b'{"a":1}', deadline_ms=NOW + HOUR),
        ),
    ],
)
async def test_waits_for_time_and_for_people_are_asked_for_as_said(play: Play, do: Do, about: str, ask: Any) -> None:
    engine, found = await play(do, value({"b": 2}))

    (asked,) = engine.asked
    if isinstance(ask, Suspend):
        ask = replace(ask, topic=resume_topic(asked.run_id, "k"))
    assert (asked.key, asked.about, asked.ask, asked.aside) == ("k", about, ask, False)
    assert found == (["dict", {"b": 2}] if about == "suspend" else ["NoneType", None])


def condition(topic: str, **options: Any) -> EventCondition:
    return EventCondition(topic=topic, **options)


@pytest.mark.parametrize(
    ("do", "about", "ask", "outcome", "expected"),
    [
        (
            lambda step: step.wait_for_event("k", "orders/*", timeout=3600, event_key="c", event_type="paid"),
            "wait_for_event topic='orders/*' event_key='c' event_type='paid'",
            Await(
                conditions=(condition("orders/*", event_key="c", event_type="paid"),),
                need=1,
                deadline_ms=NOW + HOUR,
            ),
            met(EVENT),
            ["Event", PAYLOAD],
        ),
        (
            lambda step: step.wait_for_event("k", "a", since="now", filter=lambda _event: True),
            "wait_for_event topic='a' event_key=None",
            Await(conditions=(condition("a", since_ms=NOW, stream=True),), need=1, deadline_ms=None),
            met(EVENT),
            ["Event", PAYLOAD],
        ),
        (
            lambda step: step.wait_for_any("k", [event_on("a", since=YEAR), after(hours=1)]),
            "wait_for_any topic='a' event_key=None, time",
            Await(
                conditions=(condition("a", since_ms=1_767_225_600_000), Sleep(until_ms=NOW + HOUR)),
                need=1,
                deadline_ms=None,
            ),
            value({"n": 1, "event": None}),
            ["Met", [1, None]],
        ),
        (
            lambda step: step.wait_for_all("k", [event_on("a"), after(seconds=timedelta(hours=1))], timeout=7200),
            "wait_for_all topic='a' event_key=None, time",
            Await(conditions=(condition("a"), Sleep(until_ms=NOW + HOUR)), need=2, deadline_ms=NOW + 2 * HOUR),
            value([orjson.loads(met(EVENT).value or b"")["event"], None]),
            ["list", [PAYLOAD, None]],
        ),
        (
            lambda step: step.wait_for_all("k", [event_on("a")]),
            "wait_for_all topic='a' event_key=None",
            Await(conditions=(condition("a"),), need=1, deadline_ms=None),
            met(EVENT),
            ["list", [PAYLOAD]],
        ),
    ],
)
async def test_waits_for_events_are_asked_for_as_said(
    play: Play, do: Do, about: str, ask: Any, outcome: Outcome, expected: Any
) -> None:
    engine, found = await play(do, outcome)

    assert [(one.about, one.ask) for one in engine.asked] == [(about, ask)]
    assert found == expected


async def test_a_wait_since_an_event_begins_when_that_was_appended(play: Play) -> None:
    async def do(ctx: Any) -> Any:
        first = await ctx.step.wait_for_event("first", "a", since=ctx.events[0])
        await ctx.step.wait_for_event("second", "a", since=first)

    engine = Engine(run_of(do), driver())
    await engine.start()
    await engine.until_asked("first")
    await engine.resolve("first", met(event(9, "a", id="e9", at=NOW + 77)))
    await engine.until_asked("second")
    engine.driver.close()

    asked = [one.ask for one in engine.asked]
    assert all(isinstance(one, Await) for one in asked)
    assert [one.conditions[0].since_ms for one in asked if isinstance(one, Await)] == [NOW, NOW + 77]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("do", "about", "children", "wait", "expected"),
    [
        (
            lambda step: step.invoke("k", child, {"a": 1}),
            "invoke child (1)",
            [b'{"a":1}'],
            False,
            ["str", "child:000000000000000000000000"],
        ),
        (lambda step: step.invoke_and_wait("k", "child"), "invoke_and_wait child (1)", [b"null"], True, ["int", 7]),
        (
            lambda step: step.batch_invoke("k", [(child, 1), ("child", 2)]),
            "batch_invoke child (2)",
            [b"1", b"2"],
            False,
            ["list", ["child:000000000000000000000000", "child:000000000000000000000001"]],
        ),
        (
            lambda step: step.batch_invoke_and_wait("k", [(child, 1)]),
            "batch_invoke_and_wait child (1)",
            [b"1"],
            True,
            ["list", [7]],
        ),
    ],
)
async def test_children_are_asked_for_as_said(
    play: Play, do: Do, about: str, children: list[bytes], wait: bool, expected: Any
) -> None:
    outcome = value([{"status": "completed", "result": 7, "error": None}]) if wait else None
    engine, found = await play(do, outcome)

    made = tuple(Child(workflow_id="child", payload=one) for one in children)
    assert [(one.about, one.ask) for one in engine.asked] == [(about, Invoke(children=made, wait=wait))]
    assert found == expected


async def test_a_child_that_failed_is_raised(play: Play) -> None:
    outcome = value([{"status": "failed", "result": None, "error": {"type": "ValueError", "message": "no luck"}}])
    _, failure = await play(lambda step: step.invoke_and_wait("k", child), outcome)
    assert failure.type == ChildError.__name__
    assert failure.message.startswith("step 'k': the run of workflow 'child' failed with ValueError: no luck")


async def test_now_is_recorded_and_uuid_and_random_are_derived(play: Play) -> None:
    async def all_three(step: Any) -> Any:
        return [await step.uuid("u"), await step.random("r"), (await step.now("n")).isoformat()]

    engine, (_, found) = await play(all_three)
    _, (_, again) = await play(all_three)

    assert [(one.key, one.about, one.ask) for one in engine.asked] == [("n", "now", Note(b"%d" % NOW))]
    assert found == again
    assert found[2] == "2026-01-31T12:00:00+00:00"


async def test_what_a_plain_function_gets_may_be_a_key_in_its_result() -> None:
    def plain(ctx: Any) -> Any:
        return {ctx.step.uuid("u"): 1, ctx.step.publish_event("p", topic="told", data=1): 2}

    engine = Engine(run_of(plain), driver())
    try:
        await engine.start()
        ended = await engine.until_ended()
    finally:
        engine.driver.close()
    assert ended.failure is None
    assert orjson.loads(ended.result or b"")[f"{engine.run.id}:p"] == 2


async def test_who_publishes_much_waits_for_the_journal_now_and_then(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "MOST_PUBLISHED", 2_500)

    async def publishes(step: Any) -> Any:
        return [await step.publish_event(f"p{n}", topic="told", data="x" * 900) for n in range(8)]

    engine, (_, found) = await play(publishes)
    assert found == [f"{engine.run.id}:p{n}" for n in range(8)]
    assert [(one.key, one.ask.quiet) for one in engine.asked] == [(f"p{n}", n not in (3, 7)) for n in range(8)]
    assert {one.about for one in engine.asked} == {"publish_event topic='told' event_key=None"}


async def test_who_publishes_too_much_at_once_is_told_to_await(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "MOST_PUBLISHED", 20 * 1024 * 1024)

    async def publishes(step: Any) -> Any:
        await asyncio.gather(*[step.publish_event(f"p{n}", topic="told", data="x" * 1_000_000) for n in range(40)])

    _, failure = await play(publishes)
    assert failure.type == "StepLimit"
    assert failure.message.endswith("that a run may: await each publish_event before the next one")


async def test_resume_publishes_the_event_for_which_the_other_run_waits(play: Play) -> None:
    other = run_id("other", b"123456789012")
    engine, found = await play(lambda step: step.resume("k", other, "approve", {"yes": True}))
    (asked,) = engine.asked
    assert asked.about == f"resume run_id={other!r} step_key='approve'"
    (record,) = asked.ask.records
    value = orjson.loads(record.value)
    assert (record.topic, value["topic"], value["data"]) == (
        "events",
        resume_topic(other, "approve"),
        {"yes": True},
    )
    assert found == ["NoneType", None]
    for nobody in ("", "other:1", "order-1"):
        engine, failure = await play(partial(_resume, nobody))
        assert (failure.type, failure.final) == ("Misuse", True)
        assert engine.asked == []


def _resume(nobody: str, step: Any) -> Any:
    return step.resume("k", nobody, "approve")


async def test_a_trace_is_a_line_at_debug_with_its_attributes(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def traced(step: Any) -> None:
        with step.trace("charge", order=7, run="mine"):
            await asyncio.sleep(0)
        try:
            with step.trace("fails"):
                raise ValueError
        except ValueError:
            pass
        with step.trace("own", span="mine", duration_ms="mine", event="mine", self="mine"):
            pass

    engine, _ = await play(traced)
    first, second, third = (vars(one)["fields"] for one in caplog.records if one.getMessage() == "span_ended")
    assert first.pop("duration_ms") >= 0
    assert first == {"span": "charge", "order": 7, "run": engine.run.id, "workflow": "one", "attempt": 1}
    assert second["error"] == "ValueError"
    assert third.pop("duration_ms") >= 0
    own = {"span": "own", "run": engine.run.id, "workflow": "one", "attempt": 1}
    assert third == own | {"event": "mine", "self": "mine"}  # what Headgate says of it stays
    assert engine.asked == []


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (lambda step: step.sleep("k", -1), "seconds of step 'k' is -1, less than 0"),
        (lambda step: step.wait_for("k", weeks=600), "more than ten years"),
        (lambda step: step.wait_for("k", days="1"), "the span of step 'k' cannot be read"),
        (lambda step: step.sleep("k", "1", days=1), "the span of step 'k' cannot be read"),
        (lambda step: step.sleep("k", 60, minutes=-2), "the span of step 'k' is"),
        (
            lambda step: step.sleep_until("k", datetime(2020, 1, 1, tzinfo=UTC)),
            "until of step 'k' is 2020-01-01T00:00:00+00:00, and it is ",
        ),
        (lambda step: step.sleep_until("k", datetime(2050, 1, 1)), "until of step 'k' is datetime"),  # noqa: DTZ001
        (lambda step: step.wait_for_any("k", [after(weeks=1e10)]), "the span of step 'k' cannot be read"),
        (lambda step: step.wait_for_any("k", [after(days="1")]), "the span of step 'k' cannot be read"),  # type: ignore[arg-type]
        (lambda step: step.wait_for_all("k", [after(seconds="1")]), "seconds of step 'k' is '1'; give seconds or a t"),  # type: ignore[arg-type]
        (lambda step: step.wait_until("k", datetime(2050, 1, 1, tzinfo=UTC)), "more than ten years away"),
        (lambda step: step.wait_for_event("k", "*/paid"), "whose first segment is a wildcard; begin with a segment"),
        (lambda step: step.wait_for_event("k", "**"), "whose first segment is a wildcard"),
        (lambda step: step.wait_for_event("k", "a*"), "'*' stands for a whole segment"),
        (lambda step: step.wait_for_event("k", "a", timeout=-1), "timeout is -1"),
        (lambda step: step.wait_for_event("k", "a", event_key=7), "event_key of step 'k' is 7; give a text"),
        (lambda step: step.wait_for_event("k", "a", since="then"), "since of step 'k' is 'then'"),
        (lambda step: step.wait_for_event("k", "a", filter=asyncio.sleep), "filter of step 'k' is no plain function"),
        (lambda step: step.wait_for_any("k", []), "give a list of 1 to 100 conditions"),
        (lambda step: step.wait_for_any("k", ["a"]), "give a list of 1 to 100 conditions"),
        (lambda step: step.wait_for_all("k", event_on("a")), "give a list of 1 to 100 conditions"),
        (lambda step: step.suspend("k", object()), "the data of step 'k' cannot be written as JSON"),
        (lambda step: step.run("k", asyncio.sleep(0)), "give the function and its arguments: ctx.step.run('k', sleep"),
        (lambda step: step.run("k", child), "call ctx.step.invoke_and_wait('k', child)"),
        (lambda step: step.run("k", 7), "was given 7; give a function and its arguments"),
        (lambda step: step.run("k", int, max_retries=-1), "max_retries of step 'k' is -1"),
        (lambda step: step.run("k", int, timeout="x"), "timeout is 'x'"),
        (lambda step: step.invoke("k", ""), "step 'k' invokes"),
        (lambda step: step.batch_invoke("k", [child]), "in a batch each with its payload"),
        (
            lambda step: step.batch_invoke_and_wait("k", [(child, n) for n in range(1_001)]),
            "give at most 1000 workflows",
        ),
        (lambda step: step.batch_invoke_and_wait("k", None), "give at most 1000 workflows"),
        (lambda step: step.invoke("k", child, object()), "the payload of step 'k' cannot be written as JSON"),
    ],
)
async def test_a_wrong_call_gets_a_word_and_no_retry_mends_it(play: Play, do: Do, words: str) -> None:
    engine, failure = await play(do)

    assert words in failure.message
    assert failure.final
    assert engine.asked == []


@pytest.mark.parametrize(
    ("do", "what", "bound"),
    [
        (lambda step: step.invoke("k", child, "x" * 200), "the payload", "100 of limits.event_bytes"),
        (lambda step: step.suspend("k", "x" * 200), "the data", "150 of limits.result_bytes"),
    ],
)
async def test_what_is_too_large_names_the_setting_that_bounds_it(play: Play, do: Do, what: str, bound: str) -> None:
    engine, failure = await play(do, event_bytes=100, result_bytes=150)

    assert failure.message == (
        f"{what} of step 'k' has 202 bytes, more than the {bound}; keep it elsewhere and give a reference to it"
    )
    assert engine.asked == []


async def test_a_recorded_sleep_whose_time_is_over_is_no_error(play: Play) -> None:
    async def until(ctx: Any) -> str:
        await ctx.step.sleep_until("k", datetime(2020, 1, 1, tzinfo=UTC))
        return "over"

    engine = Engine(run_of(until), driver())
    ended, open_now = engine, Engine(run_of(until), engine.driver)
    ended.recorded["k"] = Recorded(key="k", kind=Kind.SLEEP, about="sleep_until", outcome=value(None))
    await ended.rise()
    assert (await ended.until_ended()).result == b'"over"'
    open_now.recorded["k"] = Recorded(key="k", kind=Kind.SLEEP, about="sleep_until")
    await open_now.rise()
    await open_now.until_asked("k")
    engine.driver.close()


ODD = "caf\udce9.txt"  # as os.listdir gives a name that is no UTF-8
TAKES_TEXT: dict[str, Callable[[Any, str], Any]] = {
    "the key of a step": lambda step, text: step.run(text, int),
    "the key of a note": lambda step, text: step.publish_event(text, "told", 1),
    "the key of a value": lambda step, text: step.uuid(text),
    "a topic": lambda step, text: step.wait_for_event("k", topic=f"orders/{text}"),
    "an event key": lambda step, text: step.wait_for_event("k", topic="orders/paid", event_key=text),
    "an event type": lambda step, text: step.wait_for_any("k", [event_on("orders/paid", event_type=text)]),
    "a workflow": lambda step, text: step.invoke_and_wait("k", text),
    "the run to resume": lambda step, text: step.resume("k", text, "approve"),
    "the step to resume": lambda step, text: step.resume("k", "charge:1", text),
    "the name of a header": lambda step, text: step.send("k", "answers", 1, headers={text: "x"}),
    "a header": lambda step, text: step.send("k", "answers", 1, headers={"x": text}),
    "the key of a record": lambda step, text: step.send("k", "answers", 1, record_key=text),
}


@pytest.mark.parametrize("name", TAKES_TEXT)
async def test_a_text_that_no_record_can_hold_fails_the_run_for_good_and_is_never_asked_for(
    play: Play, name: str
) -> None:
    engine, failure = await play(lambda step: TAKES_TEXT[name](step, ODD), send_allowed=lambda _topic: True)

    assert (failure.type, failure.final) == ("Misuse", True)
    assert "holds half a surrogate pair" in failure.message
    failure.message.encode()
    assert engine.asked == []


@pytest.mark.parametrize("name", [one for one in TAKES_TEXT if one not in ("a header", "the key of a record")])
async def test_a_text_that_is_too_long_fails_the_run_for_good_and_is_never_asked_for(play: Play, name: str) -> None:
    long = "x" * 9_000_000
    engine, failure = await play(lambda step: TAKES_TEXT[name](step, long), send_allowed=lambda _topic: True)

    assert (failure.type, failure.final) == ("Misuse", True)
    assert " characters, " in failure.message
    assert len(failure.message) < 1_000
    assert engine.asked == []


async def test_a_key_of_many_letters_of_any_script_is_taken(play: Play) -> None:
    engine, found = await play(lambda step: step.run("\u00e9\U0001f600" * 512, int))

    assert found == ["int", 0]
    assert [len(one.key) for one in engine.asked] == [1_024]
