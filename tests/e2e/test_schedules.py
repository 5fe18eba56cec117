"""A schedule of every second on a real Kafka: one run for each second, over kill -9 and a change of owners."""

import json
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.e2e.service import Service
from tests.e2e.tally import Reader
from tests.e2e.waiting import until

_FLOWS = """
from headgate import workflow

@workflow(schedule={"cron": "* * * * * *", "catch_up": "all"})
async def tick(ctx, payload):
    return payload["events"][0]["data"]
"""


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
