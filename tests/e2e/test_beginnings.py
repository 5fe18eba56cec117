"""What a new installation and a new workflow see of the events that are there already."""

from pathlib import Path

from tests.e2e.load import Load
from tests.e2e.service import Service
from tests.e2e.tally import Tally
from tests.e2e.waiting import until

_ONE = """
from headgate import workflow

@workflow(id="{id}", trigger_on_event="load/fast")
async def {id}(ctx, payload):
    return {{"n": [event["data"]["n"] for event in payload["events"]]}}
"""


def test_new_installation_reads_from_the_beginning(service: Service, load: Load, tally: Tally) -> None:
    load.send_many(100)
    load.acknowledged()
    worker = service.start("w0").ready()
    tally.confirm(load)
    assert worker.stop() == 0


def test_new_installation_with_latest_reads_from_now_on(service: Service, load: Load, tally: Tally) -> None:
    for key in range(40):
        load.send("fast", key=key)
    load.acknowledged()
    load.expected.clear()  # none of these counts
    worker = service.start("w0", worker_start_from="latest").ready()
    later = {load.send("fast", key=key) for key in range(40)}
    load.acknowledged()
    tally.confirm(load)
    assert {number for _, number in load.expected} == later
    assert worker.stop() == 0


def test_workflow_added_later_starts_from_now(service: Service, load: Load, tally: Tally, tmp_path: Path) -> None:
    flows = tmp_path / "flows.py"
    flows.write_text(_ONE.format(id="fast"))
    worker = service.start("w0", flows=flows).ready()
    for key in range(40):
        load.send("fast", key=key)
    load.acknowledged()
    tally.confirm(load)
    assert worker.stop() == 0
    flows.write_text(_ONE.format(id="fast") + _ONE.format(id="added"))
    worker = service.start("w0", flows=flows).ready()
    later = {load.send("fast", key=key) for key in range(40)}
    load.expected.update(("added", number) for number in later)
    load.acknowledged()
    tally.confirm(load)
    assert worker.stop() == 0


def test_events_of_a_workflow_that_is_not_loaded_wait_for_it(
    service: Service, load: Load, tally: Tally, tmp_path: Path
) -> None:
    both, one = tmp_path / "both.py", tmp_path / "one.py"
    both.write_text(_ONE.format(id="fast") + _ONE.format(id="added"))
    one.write_text(_ONE.format(id="fast"))
    worker = service.start("w0", flows=both).ready()
    assert worker.stop() == 0
    worker = service.start("w0", flows=one).ready()  # a rolling deploy backwards
    numbers = {load.send("fast", key=key) for key in range(20)}
    load.acknowledged()
    tally.confirm(load)
    until(lambda: worker.metric("headgate_events_asleep") == len(numbers), 10.0, "they wait", else_show=service.tails)
    assert worker.stop() == 0
    worker = service.start("w0", flows=both).ready()
    load.expected.update(("added", number) for number in numbers)
    tally.confirm(load)
    assert worker.stop() == 0
