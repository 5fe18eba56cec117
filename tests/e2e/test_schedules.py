"""A schedule of every second on a real Kafka: one run for each second, over kill -9 and a change of owners; and what
becomes of the seconds in which nobody had its workflow.
"""

import json
import time
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from app.kafka.embedded import EmbeddedKafka
from tests.e2e.service import Service
from tests.e2e.tally import Reader
from tests.e2e.waiting import until

_FLOWS = """
from headgate import workflow

@workflow(schedule={"cron": "* * * * * *", "catch_up": "all"})
async def tick(ctx, payload):
    return payload["events"][0]["data"]
"""

_CATCH_UP = """
from headgate import workflow

def every_second(name):
    @workflow(id=name, schedule={"cron": "* * * * * *", "catch_up": name})
    async def tick(ctx, payload):
        return payload["events"][0]["data"]["scheduled_at"]

    return tick

all_, once, skip = map(every_second, ("all", "once", "skip"))
"""
_AWAY_SECONDS = 4


def test_every_second_has_one_run_though_its_owners_are_killed(service: Service, tmp_path: Path) -> None:
    flows = tmp_path / "ticks.py"
    flows.write_text(_FLOWS)
    results = Reader(service, "results", service.partitions)
    found: list[dict[str, Any]] = []

    def more(count: int) -> None:
        wanted = len(found) + count

        def enough() -> bool:
            found.extend(json.loads(one.value()) for one in results.read_on())
            return len(found) >= wanted

        until(enough, 60.0, f"{count} more runs", else_show=service.tails)

    workers = [service.start(f"w{n}", flows=flows).ready() for n in range(2)]
    more(3)
    for number, worker in enumerate(workers):  # one of them is the owner
        worker.kill()
        service.start(f"w{number}", flows=flows).ready()
        more(3)

    assert {one["status"] for one in found} == {"completed"}
    instants = sorted(datetime.fromisoformat(one["result"]["scheduled_at"]) for one in found)
    assert all(after - before == timedelta(seconds=1) for before, after in pairwise(instants))
    assert sum(one["result"]["last_at"] is None for one in found) == 1


def test_what_was_missed_while_no_worker_was_there_is_caught_up_as_the_schedule_says(
    kafka: EmbeddedKafka, kafka_prefix: str, tmp_path: Path
) -> None:
    flows = tmp_path / "ticks.py"
    flows.write_text(_CATCH_UP)
    with Service(kafka, kafka_prefix, tmp_path / "service", partitions=1) as service:  # all of them load at once
        results = Reader(service, "results", service.partitions)
        instants: dict[str, list[float]] = {"all": [], "once": [], "skip": []}

        def each_ran(count: int, after: float) -> None:
            def enough() -> bool:
                for one in results.read_on():
                    found = json.loads(one.value())
                    instants[found["workflow_id"]].append(datetime.fromisoformat(found["result"]).timestamp())
                return all(sum(one > after for one in found) >= count for found in instants.values())

            until(enough, 60.0, f"{count} runs of each", else_show=service.tails)

        worker = service.start("w0", flows=flows).ready()
        each_ran(2, 0)
        worker.kill()
        killed = time.time()
        until(lambda: time.time() > killed + _AWAY_SECONDS, 60.0, "some instants pass")
        service.start("w0", flows=flows).ready()
        each_ran(2, time.time())
        results.close()

    assert all(found == sorted(set(found)) for found in instants.values())
    assert {after - before for before, after in pairwise(instants["all"])} == {1}
    first = min(one for one in instants["skip"] if one > killed)
    missed = [one for one in instants["all"] if killed < one < first]
    assert len(missed) >= _AWAY_SECONDS - 1
    assert [one for one in instants["once"] if killed < one < first] == missed[-1:]
