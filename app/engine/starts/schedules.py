"""Schedules: a workflow's home starts one run for each instant, and keeps in the journal how far it came.

The home of a workflow is the partition of its id, so one owner alone follows its schedule. An instant and its run stand
in the same commit. While no owner there has the workflow's code, its instants are missed; `catch_up` says what becomes
of them once it is there. Runs of one schedule have one key, the workflow's id, so that `order` holds among them.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.engine.effects import Effects
from app.engine.runs import letters
from app.engine.starts import lanes
from app.engine.tables import timers
from app.engine.tables.state import Followed, State, Timer
from headgate.definition import Workflow
from headgate.schedule import CatchUp
from topics import codec, journal, keys
from topics.commands import Batched
from topics.cron import Cron
from topics.envelope import NOWHERE, SCHEDULE, Envelope
from topics.timestamps import rfc3339

MOST_MISSED: Final = 1_000
"""Instants that are caught up with at a time, the latest ones; a dead letter names the others."""
MOST_WAITING: Final = 1_000
"""Instants that wait for their turn; while there are so many, others count as missed."""
_SOURCE: Final = "headgate/schedule"


def follow(state: State, effects: Effects) -> None:
    """Workflows changed: follow the schedules of those that are loaded, and of no others."""
    for name in [one for one in state.schedules if one in state.loaded or one in state.retired]:
        workflow = state.loaded.get(name)
        if workflow is None or workflow.schedule is None:
            del state.schedules[name]
            state.touched_schedules.pop(name, None)
            state.removed.append(journal.schedule_key(name))
            state.changed = True
    for name, followed in state.schedules.items():
        if name not in state.loaded:
            followed.armed_ms = None
    for name in sorted(state.loaded):
        workflow = state.loaded[name]
        home = keys.partition_of(name.encode(), state.limits.partitions)
        if workflow.schedule is not None and home == state.partition:
            _follow(state, workflow, effects)


def _follow(state: State, workflow: Workflow, effects: Effects) -> None:
    schedule = workflow.schedule
    assert schedule is not None
    followed = state.schedules.get(workflow.id)
    if followed is None or (followed.cron, followed.timezone) != (schedule.cron, schedule.timezone):
        ran_ms = None if followed is None else followed.ran_ms
        followed = state.schedules[workflow.id] = Followed(schedule.cron, schedule.timezone, state.now_ms, ran_ms)
        _touch(state, workflow.id, followed)
    elif followed.armed_ms is not None:
        return
    elif schedule.catch_up is CatchUp.SKIP:
        if schedule.read().next_after(followed.last_ms) <= state.now_ms:
            followed.last_ms = state.now_ms
            _touch(state, workflow.id, followed)
    else:
        _start_missed(state, workflow, followed, effects)
    _arm(state, workflow, followed)


def due(state: State, workflow_id: str, due_ms: int, effects: Effects) -> None:
    """The next instant is there; so may others be, when this owner was held up."""
    followed = state.schedules.get(workflow_id)
    if followed is None or followed.armed_ms != due_ms:
        return
    workflow = state.loaded[workflow_id]
    lane = state.lanes.get((workflow_id, workflow_id))
    if lane is None or len(lane.pending) < MOST_WAITING:
        _start_missed(state, workflow, followed, effects)
    _arm(state, workflow, followed)


def _arm(state: State, workflow: Workflow, followed: Followed) -> None:
    assert workflow.schedule is not None
    followed.armed_ms = workflow.schedule.read().next_after(max(followed.last_ms, state.now_ms))
    timers.arm(state, followed.armed_ms, Timer.SCHEDULE, workflow.id)


def _touch(state: State, workflow_id: str, followed: Followed) -> None:
    state.touched_schedules[workflow_id] = followed
    state.changed = True


def _start_missed(state: State, workflow: Workflow, followed: Followed, effects: Effects) -> None:
    schedule = workflow.schedule
    assert schedule is not None
    cron = schedule.read()
    if schedule.catch_up is CatchUp.ALL:
        missed = _missed(cron, followed.last_ms, state.now_ms)
    else:
        latest = cron.latest(followed.last_ms, state.now_ms)
        missed = [] if latest is None else [latest]
    if not missed:
        return
    if schedule.catch_up is CatchUp.ALL and (first_ms := cron.next_after(followed.last_ms)) < missed[0]:
        _give_up(state, workflow, followed, first_ms, missed[0])
    for instant_ms in missed:
        event = event_of(workflow.id, instant_ms, last_ms=followed.ran_ms, timezone=schedule.timezone)
        followed.last_ms = followed.ran_ms = instant_ms
        lanes.admit_gathered(state, Batched(workflow.id, event), effects)
    _touch(state, workflow.id, followed)


def _missed(cron: Cron, after_ms: int, until_ms: int) -> list[int]:
    """Return the instants after the one and up to the other, the latest ones where they are too many."""
    found: list[int] = []
    instant_ms = after_ms
    while (instant_ms := cron.next_after(instant_ms)) <= until_ms:
        if len(found) == MOST_MISSED:
            return _latest(cron, after_ms, until_ms)
        found.append(instant_ms)
    return found


def _latest(cron: Cron, after_ms: int, until_ms: int) -> list[int]:
    """Return the latest of too many: looked for in spans that double, since there may be millions before them."""
    span_ms = MOST_MISSED * 1000
    while True:
        found: deque[int] = deque(maxlen=MOST_MISSED)
        instant_ms = max(after_ms, until_ms - span_ms)
        while (instant_ms := cron.next_after(instant_ms)) <= until_ms:
            found.append(instant_ms)
        if len(found) == MOST_MISSED:
            return list(found)
        span_ms *= 2


def _give_up(state: State, workflow: Workflow, followed: Followed, first_ms: int, kept_ms: int) -> None:
    """Write the dead letter of the instants that are too many, as the first of them."""
    schedule = workflow.schedule
    assert schedule is not None
    event = event_of(workflow.id, first_ms, last_ms=followed.ran_ms, timezone=schedule.timezone)
    letters.bury(
        state,
        (event,),
        code="too_many_missed",
        reason=f"workflow {workflow.id!r} missed more than {MOST_MISSED:,} instants of its schedule; no run starts for "
        f"those from {rfc3339(first_ms)} until before {rfc3339(kept_ms)}",
        remedy="if they matter, do by hand what they would have done; catch_up='once' leaves all of it to one run, "
        "which sees in last_at how far the run before it came",
        run_id=None,
        workflow_id=workflow.id,
    )


def event_of(workflow_id: str, instant_ms: int, *, last_ms: int | None, timezone: str) -> Envelope:
    """Return the event of an instant: always the same one, so that its run has always the same id."""
    instant, topic = rfc3339(instant_ms), SCHEDULE + workflow_id
    data = {
        "scheduled_at": instant,
        "last_at": None if last_ms is None else rfc3339(last_ms),
        "timezone": timezone,
    }
    key, value, headers = codec.produce_form(
        topic, data, event_id=f"{topic}/{instant}", key=workflow_id, source=_SOURCE
    )
    return codec.decode(value, key, headers, partition=NOWHERE, offset=NOWHERE, timestamp_ms=instant_ms, max_bytes=None)


def entity(followed: Followed, round_: int) -> bytes:
    """Return what the journal holds of a schedule."""
    return journal.encode(
        {
            "cron": followed.cron,
            "timezone": followed.timezone,
            "last": followed.last_ms,
            "ran": followed.ran_ms,
            "r": round_,
        }
    )


def from_journal(found: Mapping[str, Any]) -> Followed:
    """Return how far the schedule was followed. Raises LookupError, TypeError or ValueError."""
    ran_ms = found["ran"]
    return Followed(
        str(found["cron"]), str(found["timezone"]), int(found["last"]), None if ran_ms is None else int(ran_ms)
    )


def changes(state: State) -> Iterator[tuple[bytes, bytes]]:
    """Yield the entities of what this round changed, which is none of its concern afterwards."""
    for workflow_id, followed in state.touched_schedules.items():
        yield journal.schedule_key(workflow_id), entity(followed, state.round)
    state.touched_schedules.clear()
