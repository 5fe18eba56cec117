import asyncio
import json
import logging
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from app.engine.inputs import Ended, Failure
from app.engine.runs.retry import delay_ms
from app.engine.values.limits import Limits
from app.runtime import failures
from app.runtime.driver import Driver
from app.runtime.limits import Misuse, StepLimits
from headgate import DuplicateStepKey, Reject, RetryLater, StepError
from tests.unit.app.runtime.standin import Engines, Report, drive, failure_in, result_of, run_of


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Reject("no"), Failure("Reject", "no", None, rejected=True)),
        (RetryLater(2, "busy"), Failure("RetryLater", "retry in 2 s: busy", None, retry_after_ms=2_000)),
        (Misuse("wrong"), Failure("Misuse", "wrong", "app.runtime.limits.Misuse: wrong\n", final=True)),
        (ValueError("x"), Failure("ValueError", "x", "ValueError: x\n")),
    ],
)
def test_an_error_means_what_its_class_says(error: Exception, expected: Failure) -> None:
    assert failures.failure_of(error) == expected


def test_a_step_key_that_comes_twice_is_not_tried_again() -> None:
    assert failures.failure_of(DuplicateStepKey("charge", "a.py:1", "a.py:2")).final


def grouped(*errors: BaseException) -> BaseException:
    return BaseExceptionGroup("outer", [BaseExceptionGroup("inner", errors[:2]), *errors[2:]])


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([KeyError("x"), ValueError("y")], Failure("KeyError", "'x' (and 1 other error)", None)),
        ([SystemExit(3)], Failure("SystemExit", "3", None)),
        (
            [Misuse("wrong"), RetryLater(2), KeyError("x"), Reject("no")],
            Failure("Reject", "no (and 3 other errors)", None, rejected=True),
        ),
        (
            [RetryLater(2), KeyError("x"), DuplicateStepKey("a", "b", "c"), Misuse("wrong")],
            Failure("DuplicateStepKey", f"{DuplicateStepKey('a', 'b', 'c')} (and 3 other errors)", None, final=True),
        ),
        (
            [KeyError("x"), RetryLater(2, "busy"), RetryLater(5, "full"), RetryLater(3)],
            Failure("RetryLater", "retry in 5 s: full (and 3 other errors)", None, retry_after_ms=5_000),
        ),
    ],
)
def test_a_group_means_what_the_one_of_its_errors_means_that_decides(
    errors: list[BaseException], expected: Failure
) -> None:
    failure = failures.failure_of(grouped(*errors))
    assert replace(failure, traceback=None) == expected
    assert failure.traceback is not None
    assert all(str(one) in failure.traceback for one in errors)


async def test_a_verdict_in_a_task_group_is_the_runs_and_its_place_is_where_it_was_raised(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def refuses() -> None:
        raise Reject("no")

    async def waits() -> None:
        raise RetryLater(2, "busy")

    async def grouping(ctx: Any) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits())
            group.create_task(waits() if ctx.attempt == 1 else refuses())

    failure = await failure_in(driver, grouping)
    assert (failure.type, failure.retry_after_ms, failure.rejected) == ("RetryLater", 2_000, False)
    (line,) = lines(caplog)
    assert line["place"] == f"{__file__}:{waits.__code__.co_firstlineno + 1}"

    run = run_of(grouping)
    run.attempt = 2
    (ended,) = await drive(driver, run)
    assert isinstance(ended, Ended)
    assert ended.failure is not None
    assert (ended.failure.type, ended.failure.rejected) == ("Reject", True)


async def test_a_verdict_in_a_group_of_a_steps_function_is_the_steps(engines: Engines) -> None:
    async def refuses() -> None:
        try:
            raise ExceptionGroup("both", [ValueError("x"), Reject("no")])
        except* ValueError:
            raise

    async def one(ctx: Any) -> Any:
        try:
            await ctx.step.run("ask", refuses)
        except StepError as error:
            return [error.error_type, error.message]

    engine = engines(one)
    assert await result_of(engine) == ["Reject", "no (and 1 other error)"]
    assert engine.attempts == {"ask": 1}


# --- what fails -----------------------------------------------------------------------------------------------------


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Below(BaseException):
    """What an author derived from BaseException."""


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("no luck"), "ValueError", "no luck"),
        (Below("deep"), "Below", "deep"),
        (asyncio.CancelledError("gone"), "CancelledError", "gone"),
        (SystemExit(3), "SystemExit", "3"),
        (GeneratorExit("closed"), "GeneratorExit", "closed"),
        (StopAsyncIteration("stop"), "StopAsyncIteration", "stop"),
        (MemoryError(), "MemoryError", ""),
        (StopIteration(1), "StopIteration", "1"),
        (Silent(), "Silent", "(its text cannot be had: RuntimeError)"),
        (ValueError("\ud800"), "ValueError", "?"),
        (ValueError("x" * 10_000), "ValueError", "x" * 4_000),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, BaseException) else "",
)
async def test_whatever_leaves_a_handler_is_a_failure_of_its_run(
    driver: Driver, error: BaseException, kind: str, message: str, plain: bool
) -> None:
    def fails(ctx: Any) -> None:
        raise error

    async def fails_too(ctx: Any) -> None:
        raise error

    failure = await failure_in(driver, fails if plain else fails_too)

    if isinstance(error, StopIteration) and not plain:  # Python itself turns it into another
        kind, message = "RuntimeError", "coroutine raised StopIteration"
    assert (failure.type, failure.message) == (kind, message)
    assert (failure.rejected, failure.final, failure.retry_after_ms) == (False, False, None)
    assert failure.traceback is not None
    assert "in fails" in failure.traceback
    assert len(failure.traceback) <= 16_000
    failure.traceback.encode()


async def test_a_handler_whose_coroutine_is_closed_reports_nothing(driver: Driver) -> None:
    async def endless(ctx: Any) -> None:
        await asyncio.Event().wait()

    reported: Report = []
    await driver.start([run_of(endless)], reported.append)
    (task,) = (one for one in asyncio.all_tasks() if one.get_name() == "workflow")
    task.get_coro().close()

    assert reported == []


async def test_a_failing_handler_does_not_stop_the_others(driver: Driver) -> None:
    async def every_other(ctx: Any, payload: Any) -> int:
        number: int = payload["events"][0]["data"]
        if number % 2:
            raise Below(str(number))
        return number

    reported = await drive(driver, *(run_of(every_other, n, n) for n in range(6)))

    assert [(one.result, one.failure and one.failure.message) for one in reported if isinstance(one, Ended)] == [
        (b"0", None), (None, "1"), (b"2", None), (None, "3"), (b"4", None), (None, "5"),
    ]  # fmt: skip


async def test_reject_and_retry_later_are_told_apart_from_failures(driver: Driver) -> None:
    async def rejects(ctx: Any) -> None:
        raise Reject("too small")

    async def later(ctx: Any) -> None:
        raise RetryLater(1.5, "not yet")

    assert await failure_in(driver, rejects) == Failure("Reject", "too small", None, rejected=True)
    assert await failure_in(driver, later) == Failure(
        "RetryLater", "retry in 1.5 s: not yet", None, retry_after_ms=1_500
    )


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_a_step_that_is_not_there_fails_the_run_for_good(driver: Driver, plain: bool) -> None:
    async def naps(ctx: Any) -> None:
        await ctx.step.nap("nap", 5)

    def naps_plainly(ctx: Any) -> None:
        ctx.step.nap("nap", 5)

    failure = await failure_in(driver, naps_plainly if plain else naps)

    assert (failure.type, failure.final) == ("NoSuchStep", True)
    assert failure.message.startswith("ctx.step.nap in workflow 'naps")
    assert " does not exist; there are: run, publish_event, send, " in failure.message


# --- what the log says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.parametrize(
    ("use", "kind", "words"),
    [
        (lambda step: step.uuid(""), "Misuse", "is ''; give each step of a run a text of its own"),
        (lambda step: step.run(7, int), "Misuse", "is 7; give each step of a run a text of its own"),
        (lambda step: [step.uuid(str(one)) for one in range(4)], "StepLimit", "has more than 3 steps"),
        (lambda step: step.publish_event("tell", "told", "x" * 2_000), "StepLimit", "limits.event_bytes"),
        (lambda step: step.publish_event("tell", "", 1), "Malformed", "name the topic with 1 to 512"),
        (lambda step: step.publish_event("tell", "told", object()), "Malformed", "cannot be written as JSON"),
    ],
)
async def test_hopeless_use_is_not_tried_again(
    driver: Driver, use: Callable[[Any], Any], kind: str, words: str, plain: bool
) -> None:
    async def wrong(ctx: Any) -> None:
        await use(ctx.step)

    def plainly_wrong(ctx: Any) -> None:
        use(ctx.step)

    failure = await failure_in(driver, plainly_wrong if plain else wrong)
    assert (failure.type, failure.final) == (kind, True)
    assert words in failure.message


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(one)["fields"] for one in caplog.records if one.getMessage() == "attempt_failed"]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
async def test_an_attempt_that_will_be_tried_again_is_logged_with_the_authors_place(
    driver: Driver, plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails(ctx: Any) -> None:
        json.loads("{")

    def fails_plainly(ctx: Any) -> None:
        json.loads("{")

    fn: Callable[..., Any] = fails_plainly if plain else fails
    run = run_of(fn, max_retries=2)
    run.attempt = 2
    caplog.set_level(logging.INFO)
    (ended,) = await drive(driver, run)

    assert isinstance(ended, Ended)
    assert ended.failure is not None
    assert lines(caplog) == [
        {
            "workflow": fn.__name__,
            "run": run.id,
            "attempt": 2,
            "attempts_left": 1,
            "error": f"JSONDecodeError: {ended.failure.message}",
            "place": f"{__file__}:{fn.__code__.co_firstlineno + 1}",
            "next_try_in_seconds": delay_ms(run.id, 2, base_ms=1_000, max_ms=60_000) / 1_000,
        }
    ]


async def test_the_log_names_the_wait_that_retry_later_asked_for(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    async def later(ctx: Any) -> None:
        raise RetryLater(1.5, "not yet")

    caplog.set_level(logging.INFO)
    await drive(driver, run_of(later))

    (line,) = lines(caplog)
    assert (line["error"], line["next_try_in_seconds"]) == ("RetryLater: retry in 1.5 s: not yet", 1.5)


async def test_what_is_not_tried_again_and_what_succeeds_writes_no_line(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    async def rejects(ctx: Any) -> None:
        raise Reject("no")

    async def fails(ctx: Any) -> None:
        raise ValueError("no luck")

    async def naps(ctx: Any) -> None:
        await ctx.step.nap("nap", 5)

    async def quick(ctx: Any) -> None: ...

    caplog.set_level(logging.INFO)
    await drive(driver, run_of(rejects), run_of(fails, max_retries=0), run_of(naps), run_of(quick))

    assert lines(caplog) == []


async def test_an_attempt_that_was_cancelled_writes_no_line(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    async def endless(ctx: Any) -> None:
        await asyncio.Event().wait()

    caplog.set_level(logging.INFO)
    run = run_of(endless)
    reported: Report = []
    await driver.start([run], reported.append)
    (task,) = (one for one in asyncio.all_tasks() if one.get_name() == "workflow")
    driver.cancel([run])
    await task

    assert (lines(caplog), reported) == ([], [])


def test_the_waits_that_are_logged_are_those_of_the_engine() -> None:
    engine, steps = Limits(partitions=1), StepLimits(partitions=1)
    assert (steps.retry_base_ms, steps.retry_max_ms) == (engine.retry_base_ms, engine.retry_max_ms)


def test_ctrl_c_is_no_authors_unless_a_handler_takes_it() -> None:
    task = cast(Any, None)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert failures.is_no_authors(KeyboardInterrupt(), task)
        signal.signal(signal.SIGINT, lambda *_given: None)  # as a worker's loop has one
        assert not failures.is_no_authors(KeyboardInterrupt(), task)
        assert failures.failure_of(KeyboardInterrupt("why")).message == "why"
    finally:
        signal.signal(signal.SIGINT, before)
