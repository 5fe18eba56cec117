"""`ctx.step`: each method makes an ask of what its author gave (headgate.Step says what each promises)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import Any, Final, NoReturn

import orjson

from app.engine.values import asks
from app.engine.values.asks import Ask, Kind, Outcome, Recorded
from app.observe import logs
from app.runtime import jobs, outcomes, sending, spans, tracing, values
from app.runtime.attempt import Attempt
from app.runtime.limits import Misuse, NoSuchStep, checked_text, optional_text
from app.runtime.waiting import Done, DoneNumber, Filter
from headgate.conditions import After, Condition, EventOn, Since
from headgate.context import Span
from headgate.definition import Workflow
from headgate.event import Event
from headgate.filters import is_async
from topics import keys, reserved
from topics.envelope import Envelope
from topics.patterns import ANY, ONE, Pattern, PatternError

_LOG = logs.get("workflow")
_MOST_CHILDREN: Final = 1_000
_MOST_CONDITIONS: Final = 100


class Steps:
    """The steps of one attempt (headgate.Step)."""

    __slots__ = ("_attempt",)

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    # --- functions --------------------------------------------------------------------------------------------------

    def run(
        self,
        key: str,
        fn: Callable[..., Any],
        /,
        *args: Any,
        max_retries: int = jobs.RETRIES,
        base_delay: Span = jobs.BASE_DELAY,
        max_delay: Span = jobs.MAX_DELAY,
        timeout: Span | None = None,
        **kwargs: Any,
    ) -> Any:
        workflow, run_id = self._attempt.run.workflow, self._attempt.run.id

        def job() -> jobs.Job:
            limit = None if timeout is None else spans.span_ms(timeout, "timeout") / 1000
            return jobs.job_of(key, fn, args, kwargs, run_id=run_id, timeout_seconds=limit)

        def make(_recorded: Recorded | None) -> Ask:
            return jobs.execution(key, max_retries, base_delay, max_delay)

        def decode(outcome: Outcome) -> Any:
            written = outcomes.value_of(key, outcome)
            return values.codec_of(fn).decode(written, workflow.fn, f"the result of step {key!r}")

        return self._attempt.ask(key, Kind.RUN, "run", make, decode, job=job)

    # --- what goes out ----------------------------------------------------------------------------------------------

    def publish_event(
        self, key: str, topic: str, data: Any, event_type: str | None = None, event_key: str | None = None
    ) -> Any:
        attempt, about = self._attempt, f"publish_event topic={topic!r} event_key={event_key!r}"

        def make(_recorded: Recorded | None) -> asks.Note:
            run, event_id = attempt.run, keys.published_event_id(attempt.run.id, key)
            record = sending.event_record(run, attempt.limits, key, event_id, topic, data, event_type, event_key)
            return asks.Note(orjson.dumps(event_id), (attempt.published(record),))

        def decode(outcome: Outcome) -> str:
            published: str = orjson.loads(outcomes.value_of(key, outcome))
            return published if attempt.plain else Done(published)

        if attempt.published_much:
            return attempt.ask(key, Kind.NOTE, about, make, decode)
        refused = attempt.enter(key)
        if refused is not None:
            return refused
        noted = attempt.noted(key, about)
        if noted is None:
            note = make(None)
            attempt.note(key, about, note.value, note.records)
            noted = Outcome(note.value)
        return decode(noted)

    def send(
        self,
        key: str,
        kafka_topic: str,
        value: Any,
        record_key: str | bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> Any:
        def make(_recorded: Recorded | None) -> Ask:
            limits = self._attempt.limits
            record = sending.foreign_record(self._attempt.run, limits, key, kafka_topic, value, record_key, headers)
            return asks.Note(b"null", (record,))

        return self._attempt.ask(
            key, Kind.NOTE, f"send kafka_topic={kafka_topic!r}", make, partial(outcomes.nothing, key)
        )

    def resume(self, key: str, run_id: str, step_key: str, data: Any = None) -> Any:
        def make(_recorded: Recorded | None) -> Ask:
            if not all(type(one) is str and one for one in (run_id, step_key)):
                raise Misuse(f"step {key!r} resumes {run_id!r} at {step_key!r}; give the id of a run and a step's key")
            checked_text(run_id, f"the id of the run that step {key!r} resumes")
            checked_text(step_key, f"the key of the step that step {key!r} resumes")
            if not keys.is_run_id(run_id):
                raise Misuse(
                    f"step {key!r} resumes {run_id!r}, which is no run's id; give `ctx.run_id` of the run that waits"
                )
            attempt = self._attempt
            event_id = keys.published_event_id(attempt.run.id, key)
            topic = reserved.resume_topic(run_id, step_key)
            record = sending.event_record(attempt.run, attempt.limits, key, event_id, topic, data, None, None)
            return asks.Note(b"null", (record,))

        about = f"resume run_id={run_id!r} step_key={step_key!r}"
        return self._attempt.ask(key, Kind.NOTE, about, make, partial(outcomes.nothing, key))

    # --- waits ------------------------------------------------------------------------------------------------------

    def wait_for_event(
        self,
        key: str,
        topic: str,
        timeout: Span | None = None,
        event_key: str | None = None,
        event_type: str | None = None,
        filter: Filter | None = None,  # noqa: A002 as promised
        since: Since = "run_start",
    ) -> Any:
        condition = EventOn(topic=topic, event_key=event_key, event_type=event_type, filter=filter, since=since)

        def event_of(value: Any, received: outcomes.Received) -> Event[Any] | None:
            return outcomes.first_met(value, received).event

        return self._await(key, f"wait_for_event {_about(condition)}", (condition,), 1, timeout, event_of)

    def wait_for_any(self, key: str, conditions: Sequence[Condition], timeout: Span | None = None) -> Any:
        given = self._checked(key, conditions)
        about = f"wait_for_any {', '.join(map(_about, given))}"
        return self._await(key, about, given, 1, timeout, outcomes.first_met)

    def wait_for_all(self, key: str, conditions: Sequence[Condition], timeout: Span | None = None) -> Any:
        given = self._checked(key, conditions)
        about = f"wait_for_all {', '.join(map(_about, given))}"
        # The value of one condition of one has the form of the first of several.
        read = outcomes.all_met if len(given) > 1 else outcomes.only_met
        return self._await(key, about, given, len(given), timeout, read)

    def sleep(
        self,
        key: str,
        seconds: Span = 0,
        *,
        minutes: float = 0,
        hours: float = 0,
        days: float = 0,
        weeks: float = 0,
    ) -> Any:
        def make(_recorded: Recorded | None) -> Ask:
            more = {"minutes": minutes, "hours": hours, "days": days, "weeks": weeks}
            return asks.Sleep(until_ms=self._attempt.now_ms + spans.sum_ms(key, seconds, more))

        return self._attempt.ask(key, Kind.SLEEP, "sleep", make, partial(outcomes.nothing, key))

    def sleep_until(self, key: str, until: datetime) -> Any:
        def make(recorded: Recorded | None) -> Ask:
            until_ms = spans.time_ms(until, f"until of step {key!r}")
            if recorded is None:
                spans.check_to_come(until, until_ms, self._attempt.now_ms, f"until of step {key!r}")
            return asks.Sleep(until_ms=until_ms)

        return self._attempt.ask(key, Kind.SLEEP, "sleep_until", make, partial(outcomes.nothing, key))

    wait_for = sleep

    def wait_until(self, key: str, until: datetime) -> Any:
        return self.sleep_until(key, until)

    def suspend(self, key: str, data: Any = None, timeout: Span | None = None) -> Any:
        def make(_recorded: Recorded | None) -> Ask:
            attempt = self._attempt
            most = attempt.limits.result_bytes
            written = values.encoded(data, f"the data of step {key!r}", most_bytes=most, bound=values.GIVEN)
            topic = reserved.resume_topic(attempt.run.id, key)
            return asks.Suspend(data=written, deadline_ms=self._deadline_ms(timeout), topic=topic)

        def decode(outcome: Outcome) -> Any:
            return outcomes.awaited(key, outcome, None, spans.optional_ms(timeout, "timeout"))

        return self._attempt.ask(key, Kind.SUSPEND, "suspend", make, decode)

    # --- values that stay -------------------------------------------------------------------------------------------

    def uuid(self, key: str) -> Any:
        refused = self._attempt.enter(key)
        if refused is not None:
            return refused
        made = values.uuid_of(self._attempt.run.id, key)
        return made if self._attempt.plain else Done(made)

    def random(self, key: str) -> Any:
        refused = self._attempt.enter(key)
        if refused is not None:
            return refused
        number = values.random_of(self._attempt.run.id, key)
        return number if self._attempt.plain else DoneNumber(number)

    def now(self, key: str) -> Any:
        def make(_recorded: Recorded | None) -> Ask:
            return asks.Note(b"%d" % self._attempt.now_ms)

        def decode(outcome: Outcome) -> datetime:
            return values.time_of(orjson.loads(outcomes.value_of(key, outcome)))

        return self._attempt.ask(key, Kind.NOTE, "now", make, decode)

    # --- children ---------------------------------------------------------------------------------------------------

    def invoke(self, key: str, workflow: str | Workflow, payload: Any = None) -> Any:
        return self._invoke(key, "invoke", [(workflow, payload)], lambda run_ids: run_ids[0], wait=False)

    def invoke_and_wait(self, key: str, workflow: str | Workflow, payload: Any = None) -> Any:
        return self._invoke(key, "invoke_and_wait", [(workflow, payload)], lambda results: results[0], wait=True)

    def batch_invoke(self, key: str, children: Sequence[tuple[str | Workflow, Any]]) -> Any:
        return self._invoke(key, "batch_invoke", children, list, wait=False)

    def batch_invoke_and_wait(self, key: str, children: Sequence[tuple[str | Workflow, Any]]) -> Any:
        return self._invoke(key, "batch_invoke_and_wait", children, list, wait=True)

    # --- spans ------------------------------------------------------------------------------------------------------

    @contextmanager
    def trace(self, name: str, /, **attributes: object) -> Iterator[None]:
        run = self._attempt.run
        began = perf_counter()
        error: str | None = None
        about = {"headgate.run": run.id, "headgate.workflow": run.workflow.id, "headgate.attempt": self._attempt.number}
        try:
            with tracing.span(name, sending.trace_of(run), attributes | about):
                yield
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            fields: dict[str, object] = {
                "run": run.id,
                "workflow": run.workflow.id,
                "attempt": self._attempt.number,
                "span": name,
                "duration_ms": round((perf_counter() - began) * 1000, 3),
            }
            if error is not None:
                fields["error"] = error
            _LOG.debug("span_ended", **(attributes | fields))  # attributes may have any name, also one of these

    # --- inside -----------------------------------------------------------------------------------------------------

    def _await(
        self,
        key: str,
        about: str,
        conditions: Sequence[Condition],
        need: int,
        timeout: Span | None,
        read: Callable[[Any, outcomes.Received], Any],
    ) -> Any:
        attempt = self._attempt
        topics = ", ".join(str(one.topic) for one in conditions if isinstance(one, EventOn))

        def make(_recorded: Recorded | None) -> Ask:
            made = tuple([self._condition(key, one) for one in conditions])
            return asks.Await(conditions=made, need=need, deadline_ms=self._deadline_ms(timeout))

        def received(envelope: Envelope) -> None:
            attempt.appended_ms[envelope.sequence_id] = envelope.timestamp_ms

        def decode(outcome: Outcome) -> Any:
            return read(outcomes.awaited(key, outcome, topics, spans.optional_ms(timeout, "timeout")), received)

        filters = tuple([one.filter if isinstance(one, EventOn) else None for one in conditions])
        return attempt.ask(key, Kind.AWAIT, about, make, decode, filters=filters)

    def _invoke(self, key: str, name: str, children: Any, read: Callable[[list[Any]], Any], *, wait: bool) -> Any:
        try:
            pairs = [(one.id if isinstance(one, Workflow) else one, payload) for one, payload in children]
        except (TypeError, ValueError):
            pairs = [("", None)]
        if len(pairs) > _MOST_CHILDREN or not all(one and type(one) is str for one, _ in pairs):
            raise Misuse(
                f"step {key!r} invokes {children!r:.200}; give at most {_MOST_CHILDREN} workflows (or their ids), in a "
                "batch each with its payload: [(charge, {'order': 1}), ...]"
            )
        workflow_ids = [checked_text(one, f"the id of a workflow that step {key!r} invokes") for one, _ in pairs]

        def make(_recorded: Recorded | None) -> Ask:
            what, most = f"the payload of step {key!r}", self._attempt.limits.event_bytes
            made = [
                asks.Child(workflow_id=one, payload=values.encoded(data, what, most_bytes=most, bound=values.EVENT))
                for one, data in pairs
            ]
            return asks.Invoke(children=tuple(made), wait=wait)

        def decode(outcome: Outcome) -> Any:
            value = orjson.loads(outcomes.value_of(key, outcome))
            return read(outcomes.results_of(key, value, workflow_ids) if wait else value)

        about = f"{name} {', '.join(dict.fromkeys(workflow_ids))} ({len(pairs)})"
        return self._attempt.ask(key, Kind.INVOKE, about, make, decode)

    def _deadline_ms(self, timeout: Span | None) -> int | None:
        return None if timeout is None else self._attempt.now_ms + spans.span_ms(timeout, "timeout")

    def _condition(self, key: str, one: Condition) -> asks.EventCondition | asks.Sleep:
        if isinstance(one, After):
            return asks.Sleep(until_ms=self._attempt.now_ms + spans.sum_ms(key, one.seconds, dict(one.more)))
        try:
            pattern = Pattern.parse(one.topic)
        except PatternError as error:
            raise Misuse(f"step {key!r}: {error}") from None
        if pattern.segments[0] in (ONE, ANY):
            raise Misuse(
                f"step {key!r} waits on {one.topic!r}, whose first segment is a wildcard; begin with a segment that "
                "is given, for example 'orders/*'"
            )
        given: Any = one.filter
        if given is not None and (not callable(given) or is_async(given)):
            raise Misuse(f"the filter of step {key!r} is no plain function; give one that takes an event")
        return asks.EventCondition(
            topic=one.topic,
            event_key=optional_text(one.event_key, f"event_key of step {key!r}"),
            event_type=optional_text(one.event_type, f"event_type of step {key!r}"),
            since_ms=self._since_ms(key, one.since),
            stream=one.filter is not None,
        )

    def _since_ms(self, key: str, since: Since) -> int | None:
        attempt = self._attempt
        if since == "run_start":
            return None
        if since == "now":
            return attempt.now_ms
        if isinstance(since, datetime):
            return spans.time_ms(since, f"since of step {key!r}")
        if isinstance(since, Event):
            for envelope in attempt.run.events:
                if envelope.payload()["sequence_id"] == since.sequence_id:
                    return envelope.timestamp_ms
            if since.sequence_id in attempt.appended_ms:
                return attempt.appended_ms[since.sequence_id]
            raise Misuse(f"step {key!r} waits since an event ({since.id!r}) that its run did not receive; give a time")
        raise Misuse(f"since of step {key!r} is {since!r}; give 'run_start', 'now', a datetime or an event of the run")

    @staticmethod
    def _checked(key: str, conditions: Any) -> tuple[Condition, ...]:
        given = tuple(conditions) if isinstance(conditions, Sequence) else ()
        if not 0 < len(given) <= _MOST_CONDITIONS or not all(isinstance(one, EventOn | After) for one in given):
            raise Misuse(
                f"step {key!r} waits for {conditions!r:.200}; give a list of 1 to {_MOST_CONDITIONS} conditions: "
                "[headgate.event_on('orders/paid'), headgate.after(days=1)]"
            )
        return given

    def __getattr__(self, name: str) -> NoReturn:
        """Say that there is no such step."""
        if name.startswith("_"):  # asked by Python's own protocols
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}", name=name, obj=self)
        self._missing(name, "does not exist")

    def _missing(self, name: str, problem: str) -> NoReturn:
        there = ", ".join(one for one in vars(Steps) if not one.startswith("_"))
        raise NoSuchStep(
            f"ctx.step.{name} in workflow {self._attempt.run.workflow.id!r} {problem}; there are: {there}",
            name=name,
            obj=self,
        )


def _about(one: Condition) -> str:
    if isinstance(one, After):
        return "time"
    kind = "" if one.event_type is None else f" event_type={one.event_type!r}"
    return f"topic={one.topic!r} event_key={one.event_key!r}{kind}"
