"""The schedule: each instant has its run, or is passed over where its author wants that."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import orjson

from headgate.schedule import CatchUp
from tests.simulation.journals import Round
from tests.simulation.model.logs import Logs
from tests.simulation.programs import LAST_TICK, TICK
from tests.simulation.violation import Violation
from tests.simulation.worker import EPOCH_MS
from topics import keys
from topics.timestamps import milliseconds

_INSTANTS: Final = tuple([EPOCH_MS + 1000 * second for second in range(LAST_TICK + 1)])


def each_instant_has_its_run(logs: Logs) -> None:
    schedule = logs.sim.workflows[TICK].schedule
    assert schedule is not None
    found = [milliseconds(one.value["result"]["scheduled_at"]) for one in logs.ticks]
    # What slept for code and was too much is a dead letter.
    buried = [milliseconds(orjson.loads(one["value"])["data"]["scheduled_at"]) for one in logs.tick_letters]
    if len(set(found)) != len(found):
        raise Violation(f"DOUBLED: the schedule has runs of {found}")
    since, started = _followed(logs.sim.seen.rounds, schedule.catch_up)
    due = {one for one in _INSTANTS if one > since} if schedule.catch_up is CatchUp.ALL else started
    if {*found, *buried} != due:
        raise Violation(f"LOST or FORGED: the schedule has runs of {found}, not of {due}, since {since}")
    home = keys.partition_of(TICK.encode(), logs.sim.partitions)
    for before, after in pairwise(logs.ticks):
        if milliseconds(after.value["started_at"]) < milliseconds(before.value["finished_at"]):
            raise Violation(f"ORDER: {after.value['run_id']} started before {before.value['run_id']} finished")
    for one, instant in zip(logs.ticks, found, strict=True):
        if one.partition != home or milliseconds(one.value["started_at"]) < instant:
            raise Violation(f"{one.value} ended at partition {one.partition}, its home is {home}")


def _followed(rounds: Sequence[Round], catch_up: CatchUp) -> tuple[int, set[int]]:
    """Return since when the schedule is followed, and the latest instant of each round that started any.

    Each round with the code starts what was due since the one before it, or the latest of that. What was due before its
    owner had the schedule in hand is passed over, if its author wants that.
    """
    first = next((n for n, one in enumerate(rounds) if one.told is not None), None)
    if first is None:
        raise Violation("nobody follows the schedule")
    told = rounds[first].told
    assert told is not None
    since, started = int(told["last"]), set[int]()
    for before, one in pairwise(rounds[first:]):
        due = [instant for instant in _INSTANTS if told["last"] < instant <= one.now_ms]
        news = one.told or told
        ran = None if news["ran"] == told["ran"] else int(news["ran"])
        allowed: set[int | None] = {due[-1]} if due and one.has_code else {None}
        if catch_up is CatchUp.SKIP and due and one.has_code and before.owner != one.owner:
            allowed = {None, *[instant for instant in due[-1:] if instant > one.owned_since_ms]}
        if ran not in allowed:
            raise Violation(f"MISSED or FORGED: {one} started the run of {ran}, not of {allowed}; before it: {told}")
        if ran is not None:
            started.add(ran)
        told = news
    if told["last"] < _INSTANTS[-1]:
        raise Violation(f"LOST: the schedule was followed until {told['last']}, not until {_INSTANTS[-1]}")
    return since, started
