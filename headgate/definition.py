"""`@workflow`, and the frozen `Workflow` that it makes. There is no registry: the loader collects what modules hold.

Everything that can be wrong with a workflow is a DefinitionError when its module is loaded, not when an event comes.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import CodeType, FrameType
from typing import Any, Final, overload
from weakref import WeakKeyDictionary

from headgate import arguments
from headgate.errors import DefinitionError
from headgate.event import Event, Payload
from headgate.schedule import Schedule
from headgate.typed import TypedData, payload_type
from topics.envelope import Envelope
from topics.patterns import Pattern
from topics.reserved import start_topic

Function = Callable[..., Any]
Filter = Callable[[Event[Any]], bool]


class BatchBy(StrEnum):
    """Where the events of a batch gather."""

    WORKFLOW = "workflow"
    """All events of the workflow, at one partition."""
    KEY = "key"
    """The events of each key."""
    PARTITION = "partition"
    """The events of each partition: nothing is forwarded, and it scales without limit."""


class Order(StrEnum):
    """When the next event of the same workflow and key starts."""

    KEY = "key"
    """Once the run before it has finished or waits."""
    STRICT = "strict"
    """Once the run before it has finished."""
    NONE = "none"
    """At once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workflow:
    """A function and when to call it. Still callable as that function, so that a test can call it."""

    id: str
    fn: Function
    triggers: tuple[str, ...]
    patterns: tuple[Pattern, ...]
    schedule: Schedule | None
    batch_size: int
    batch_timeout_seconds: float | None
    batch_by: BatchBy
    filter: Filter | None
    order: Order
    max_retries: int
    timeout_seconds: float | None
    cancel_on: tuple[str, ...]
    cancel_patterns: tuple[Pattern, ...]
    cancel_filter: Filter | None
    on_failure: str | None
    """The id of the workflow that is started when a run failed for good."""
    version: str
    is_async: bool
    takes_payload: bool
    """False for a function of `ctx` alone."""
    description: str
    """First line of the function's docstring, or ""."""
    source_file: str
    source_line: int
    typed_data: TypedData | None = field(repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself."""
        return self.fn(*args, **kwargs)

    @property
    def data_model(self) -> Any | None:
        """The type of the event data (a pydantic model, usually), None where the payload is not typed."""
        return None if self.typed_data is None else self.typed_data.type

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema of the event data, None where the payload is not typed."""
        return None if self.typed_data is None else self.typed_data.schema()

    def matches(self, topic: str) -> bool:
        """Say whether an event on the logical `topic` starts it: by a trigger, or by name. The filter is not asked."""
        return any(pattern.matches(topic) for pattern in self.patterns) or topic == start_topic(self.id)

    def build_payload(self, envelopes: Sequence[Envelope]) -> Payload[Any]:
        """Return what the function receives. Raises Reject when an event's data is not of the declared type."""
        if self.typed_data is None:
            if len(envelopes) == 1:  # nearly always, and 0.1 us cheaper than the comprehension's own frame
                return {"events": [Event(envelopes[0].payload())]}
            return {"events": [Event(envelope.payload()) for envelope in envelopes]}
        return {"events": [self.typed_data.event(envelope) for envelope in envelopes]}


@overload
def workflow(fn: Function, /) -> Workflow: ...
@overload
def workflow(
    id: str | None = None,
    trigger_on_event: str | Iterable[str] | None = None,
    *,
    batch_size: int = 1,
    batch_timeout_seconds: float | timedelta | None = None,
    batch_by: str = "workflow",
    filter: Filter | None = None,
    order: str = "key",
    max_retries: int = 3,
    timeout: float | timedelta | None = None,
    schedule: str | Mapping[str, str] | None = None,
    cancel_on: str | Iterable[str] | None = None,
    cancel_filter: Filter | None = None,
    on_failure: str | Workflow | None = None,
    version: str = "1",
) -> Callable[[Function], Workflow]: ...
def workflow(*args: Any, **kwargs: Any) -> Any:
    """Make a workflow of a function of `(ctx, payload)` or `(ctx)`, async or plain.

    - `id`: its name for ever; the function's name by default.
    - `trigger_on_event`: a logical topic, a pattern (`orders/*`, `orders/**`), or a list of them. Without one, a
      workflow is started by its schedule, or by name: by another workflow, over HTTP, or by an event on
      `headgate/start/<its id>`.
    - `batch_size`: at most so many events a run.
    - `batch_timeout_seconds`: a run starts when its batch is full or its oldest event is that old; without it, a run
      takes what is there. Above size 1 only.
    - `batch_by`: "workflow", "key" or "partition" (see BatchBy); above size 1 only.
    - `filter`: called with the event before a run starts; only true starts one. It must be quick and without effects.
    - `order`: "key", "strict" or "none" (see Order).
    - `max_retries`: further attempts after an exception, RetryLater included, with growing delays; then the run has
      failed.
    - `timeout`: seconds that a run may take in all, pauses between attempts included.
    - `schedule`: cron text (`0 9 * * MON-FRI`, UTC), or `{"cron", "timezone", "catch_up"}`; a run starts once per
      instant, however many workers there are. `catch_up` is "skip", "once" or "all" (see CatchUp).
    - `cancel_on`: a logical topic, a pattern, or a list of them. An event there cancels the runs of its key that have
      not ended; its result is then "cancelled". Runs without a key, and events that wait for their turn, are left
      alone; so are runs that began when the workflow had no `cancel_on`.
    - `cancel_filter`: called with each event that would cancel runs by `cancel_on`; only true cancels them. As quick as
      `filter`, and without effects.
    - `on_failure`: a workflow or its id, started once when a run has failed or was rejected for good. The data of its
      event is `{"run_id", "workflow_id", "status", "error", "events"}`; what is too large for an event lacks the data
      of the events and says so (`"omitted": true`).
    - `version`: recorded with each run.

    Raises DefinitionError.
    """
    if len(args) == 1 and not kwargs and not isinstance(args[0], str) and args[0] is not None:
        return _define(args[0], {})  # no parentheses
    given = dict(zip(arguments.POSITIONAL, args, strict=False)) | kwargs
    too_many = len(args) > len(arguments.POSITIONAL)
    twice = [name for name in arguments.POSITIONAL[: len(args)] if name in kwargs]

    def decorate(fn: Function) -> Workflow:
        made = _define(fn, given, too_many=too_many, twice=twice)
        _check_once(made, sys._getframe(1))
        return made

    return decorate


def _define(fn: Any, given: dict[str, Any], *, too_many: bool = False, twice: Sequence[str] = ()) -> Workflow:
    inner = inspect.unwrap(fn) if callable(fn) and not isinstance(fn, Workflow) else fn
    code = getattr(inner, "__code__", None)
    if code is None:
        what = "a workflow already" if isinstance(fn, Workflow) else repr(fn)
        raise DefinitionError(
            str(given.get("id") or getattr(fn, "__name__", None) or getattr(fn, "id", "?")),
            "not a function",
            f"@workflow was given {what}",
            "put it on a function written with def or async def, once",
        )
    place = f"{code.co_filename}:{code.co_firstlineno}"
    read = arguments.Reader(given, workflow_id=str(given.get("id") or inner.__name__), place=place)
    read.check_names(too_many=too_many, twice=twice)
    workflow_id = read.workflow_id_of(inner.__name__)
    patterns = read.patterns("trigger_on_event")
    schedule = read.schedule("schedule")
    cancel_patterns = read.patterns("cancel_on")
    takes_payload, annotation = read.parameters(fn, inner)
    made = Workflow(
        id=workflow_id,
        fn=fn,
        triggers=tuple(pattern.text for pattern in patterns),
        patterns=patterns,
        schedule=schedule,
        batch_size=read.integer("batch_size", default=1, least=1, most=MAX_BATCH_SIZE),
        batch_timeout_seconds=read.seconds("batch_timeout_seconds"),
        batch_by=BatchBy(read.choice("batch_by", BatchBy, default=BatchBy.WORKFLOW)),
        filter=read.filter("filter"),
        order=Order(read.choice("order", Order, default=Order.KEY)),
        max_retries=read.integer("max_retries", default=3, least=0, most=MAX_RETRIES),
        timeout_seconds=read.seconds("timeout"),
        cancel_on=tuple(pattern.text for pattern in cancel_patterns),
        cancel_patterns=cancel_patterns,
        cancel_filter=read.filter("cancel_filter"),
        on_failure=read.workflow("on_failure"),
        version=read.text("version", default="1"),
        is_async=inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(inner),
        takes_payload=takes_payload,
        description=(inspect.getdoc(inner) or "").strip().partition("\n")[0],
        source_file=code.co_filename,
        source_line=code.co_firstlineno,
        typed_data=payload_type(annotation, inner, fail=read.wrong),
    )
    read.check_starts(
        schedule=schedule,
        batch_size=made.batch_size,
        batch_timeout_seconds=made.batch_timeout_seconds,
    )
    by_key = made.batch_by is BatchBy.KEY
    filtered = made.cancel_filter is not None
    read.check_cancels(cancels=bool(cancel_patterns), filtered=filtered, batch_size=made.batch_size, by_key=by_key)
    return made


def _check_once(made: Workflow, frame: FrameType) -> None:
    """Refuse a second workflow of one id, or one function name, in a module: the loader would see the second alone."""
    if frame.f_code.co_name != "<module>":
        return
    names = frame.f_globals
    before = _MADE.setdefault(frame.f_code, {})
    lost: Any = names.get(getattr(made.fn, "__name__", ""))
    other = before.setdefault(made.id, made)
    remedy = "give each workflow an id and a function name of its own"
    if other is not made and other.source_line != made.source_line:
        problem = f"line {other.source_line} of the file has a workflow of this id already"
    elif any(one is lost for one in before.values()) and lost.source_line != made.source_line:
        if sum(one is lost for one in names.values()) > 1:
            return  # it has another name as well
        problem = f"its function has the name of workflow {lost.id!r} of line {lost.source_line}, which would be lost"
    else:
        return
    raise DefinitionError(made.id, f"{made.source_file}:{made.source_line}", problem, remedy)


_MADE: Final[WeakKeyDictionary[CodeType, dict[str, Workflow]]] = WeakKeyDictionary()
"""What modules that are being loaded made so far, by the code of the module: it goes when that has run."""
MAX_BATCH_SIZE: Final = 10_000
MAX_RETRIES: Final = 1000
