"""Order: events of one key, and batches, one after the other."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

from tests.simulation.model.logs import Logs, Result
from tests.simulation.violation import Violation
from topics.timestamps import milliseconds


def keys_keep_their_order(logs: Logs) -> None:
    lanes: dict[tuple[Any, ...], list[Result]] = defaultdict(list)
    for result in logs.results:
        program = logs.programs[result.workflow]
        key = result.value["key"]
        if program.order == "none" or (program.plan is not None and program.order != "strict"):
            continue  # the next run of a key begins when this one waits
        if program.batch_size > 1:
            group = key if program.batch_by == "key" else None
            lanes[program.id, result.partition, group].append(result)
        elif key is not None:
            lanes[program.id, result.partition, key].append(result)
    for lane, results in lanes.items():
        for before, after in pairwise(results):
            if milliseconds(after.value["started_at"]) < milliseconds(before.value["finished_at"]):
                raise Violation(
                    f"ORDER: in {lane}, {after.value['run_id']} started before {before.value['run_id']} finished"
                )
        last: dict[int, tuple[int, str]] = {}
        for result in results:
            for partition, offset in result.events:
                if partition in last and last[partition][0] > offset:
                    raise Violation(f"ORDER: in {lane}, {partition}-{offset} came after {last[partition]}")
                if gathers_in_order(logs, result):
                    last[partition] = (offset, result.value["run_id"])


def gathers_in_order(logs: Logs, result: Result) -> bool:
    """Batches of a workflow take events of several homes: an event's way may go over its home's partition."""
    program = logs.programs[result.workflow]
    return program.batch_size == 1 or program.batch_by == "key"
