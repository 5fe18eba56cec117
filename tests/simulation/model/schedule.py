"""The schedule: each instant has its run."""

from itertools import pairwise

import orjson

from tests.simulation.model.logs import Logs
from tests.simulation.programs import LAST_TICK, TICK
from tests.simulation.violation import Violation
from tests.simulation.worker import EPOCH_MS
from topics import keys
from topics.timestamps import milliseconds


def each_instant_has_its_run(logs: Logs) -> None:
    schedule = logs.sim.workflows[TICK].schedule
    since = logs.sim.seen.ticks_from
    assert schedule is not None
    if since is None:
        raise Violation("nobody follows the schedule")
    found = [milliseconds(one.value["result"]["scheduled_at"]) for one in logs.ticks]
    due = [one for one in (EPOCH_MS + 1000 * second for second in range(LAST_TICK + 1)) if one > since]
    # What slept for code and was too much is a dead letter.
    buried = [milliseconds(orjson.loads(one["value"])["data"]["scheduled_at"]) for one in logs.tick_letters]
    if len(set(found)) != len(found):
        raise Violation(f"DOUBLED: the schedule has runs of {found}")
    if strangers := {*found, *buried} - {*due}:
        raise Violation(f"the schedule has runs of {strangers}, when nothing was due since {since}")
    needed = due if schedule.catch_up == "all" else due[-1:]
    if lost := {*needed} - {*found, *buried}:
        raise Violation(f"LOST: the schedule has no run of {lost} since {since}")
    home = keys.partition_of(TICK.encode(), logs.sim.partitions)
    for before, after in pairwise(logs.ticks):
        if milliseconds(after.value["started_at"]) < milliseconds(before.value["finished_at"]):
            raise Violation(f"ORDER: {after.value['run_id']} started before {before.value['run_id']} finished")
    for one, instant in zip(logs.ticks, found, strict=True):
        if one.partition != home or milliseconds(one.value["started_at"]) < instant:
            raise Violation(f"{one.value} ended at partition {one.partition}, its home is {home}")
