"""Workflows that use Headgate wrongly get a word for it, on a real Kafka, and hold up nobody else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import Producer

from app.kafka.embedded import EmbeddedKafka
from tests.e2e import misuse
from tests.e2e.service import Service, Worker
from tests.e2e.tally import Results, facts_of
from tests.e2e.waiting import until

FLOWS: Final = Path(misuse.__file__)
SECONDS: Final = 30.0

CHANGED: Final = """
from headgate import workflow

@workflow(id="order", trigger_on_event="orders/created")
async def order(ctx):
    await ctx.step.run("{key}", int)
    await ctx.step.suspend("wait")
"""


def line(flow: Any, after: int) -> str:
    """Return the place so many lines after a workflow's decorator, as words name it."""
    return f"misuse.py:{flow.fn.__code__.co_firstlineno + after}"


class Field:
    """A service with one worker that has all the wrong workflows."""

    def __init__(self, service: Service, results: Results) -> None:
        self.service, self._results = service, results
        self.producer = Producer({"bootstrap.servers": service.bootstrap, "acks": "all"})
        self.worker: Worker

    def send(self, topic: str, id_: str, key: str | None = None) -> None:
        body = json.dumps({"topic": topic, "id": id_, "data": {}})
        self.producer.produce(self.service.topic("events"), body, key=key)
        assert self.producer.flush(30.0) == 0

    def result(self, workflow: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next((one for one in self._results.read_on() if one["workflow_id"] == workflow), None)

        return until(found, SECONDS, f"{workflow!r} has a result", else_show=self.service.tails)

    def logged(self, name: str, **fields: str) -> dict[str, object]:
        def found() -> dict[str, object] | None:
            lines = self.worker.events(name)
            return next((one for one in lines if fields.items() <= one.items()), None)

        return until(found, SECONDS, f"{name!r} is in the log", else_show=self.service.tails)

    def open(self, workflow: str) -> str:
        """Return the id of the run of a workflow that goes on."""
        return until(
            lambda: next((one for one in facts_of(self.service).open if one.startswith(f"{workflow}:")), None),
            SECONDS,
            f"a run of {workflow!r} has begun",
            else_show=self.service.tails,
        )


@pytest.fixture(scope="module")
def field(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    folder = tmp_path_factory.mktemp("misuse")
    with Service(kafka, "misuse.", folder, partitions=2) as service, Results(service) as results:
        field = Field(service, results)
        field.worker = service.start("w0", flows=FLOWS, worker_blocked_seconds="0.3").ready()
        yield field


@pytest.mark.parametrize(
    ("workflow", "type_", "words"),
    [
        ("repeated", "DuplicateStepKey", ["'pay'", line(misuse.repeated, 3), line(misuse.repeated, 4)]),
        ("outside", "HeadgateError", ["step 'pay' was called after run 'kept:", "had returned"]),
        ("nested", "StepError", ["step 'a while' was called at", "inside the function of step 'pay'"]),
        ("unstorable", "StepError", ["the result of step 'pay' cannot be written as JSON", "give what JSON can hold"]),
        ("large_step", "StepError", ["the result of step 'read' has", "limits.result_bytes", "return a reference"]),
        ("large_result", "ResultTooLarge", ["the result of workflow 'large_result' has", "limits.result_bytes"]),
        ("large_event", "StepLimit", ["bytes", "limits.event_bytes"]),
        ("interrupting", "KeyboardInterrupt", ["no more"]),
        ("interrupted_step", "StepError", ["no more"]),
        ("large_child", "NotStorable", ["the payload of step 'child' has", "limits.event_bytes", "give a reference"]),
    ],
)
def test_wrong_use_fails_the_run_and_says_why(field: Field, workflow: str, type_: str, words: list[str]) -> None:
    field.send(f"bad/{workflow}", workflow)
    result = field.result(workflow)

    assert (result["status"], result["error"]["type"]) == ("failed", type_)
    assert [one for one in words if one not in result["error"]["message"]] == [], result["error"]["message"]


def test_a_coroutine_that_blocks_the_loop_is_named_with_its_line(field: Field) -> None:
    field.send("bad/blocking", "blocking")
    logged = field.logged("loop_blocked", workflow="blocking")

    assert str(logged["place"]).endswith(line(misuse.blocking, 3))
    assert field.result("blocking")["result"] == "done"


def test_a_workflow_that_swallows_its_cancellation_is_cancelled_and_named(field: Field) -> None:
    field.send("bad/stubborn", "stubborn")
    run = field.open("stubborn")
    field.send("headgate/cancel", "cancel-stubborn", key=run)

    assert field.result("stubborn")["status"] == "cancelled"
    logged = field.logged("pause_swallowed", workflow="stubborn")
    assert (logged["run"], logged["step"]) == (run, "more")
    assert str(logged["place"]).endswith(line(misuse.stubborn, 6))


def test_a_workflow_that_asks_for_steps_for_ever_after_its_end_holds_up_nobody(field: Field) -> None:
    field.send("bad/endless", "endless")
    run = field.open("endless")
    field.send("headgate/cancel", "cancel-endless", key=run)

    assert field.result("endless")["status"] == "cancelled"
    field.logged("pause_swallowed", workflow="endless")
    field.send("good", "beside-endless")
    assert field.result("good")["result"] == "done"
    assert len([one for one in field.worker.events("pause_swallowed") if one["workflow"] == "endless"]) == 1


def test_a_workflow_that_swallows_its_cancellation_for_ever_holds_up_neither_others_nor_the_end(field: Field) -> None:
    field.send("bad/immortal", "immortal")
    run = field.open("immortal")
    field.send("headgate/cancel", "cancel-immortal", key=run)

    assert field.result("immortal")["status"] == "cancelled"
    field.logged("stopped in vain", run=run)
    field.send("good", "good")
    assert field.result("good")["result"] == "done"
    assert field.worker.stop() == 0


def test_code_that_does_not_fit_its_records_is_stuck_with_both_and_is_retried_from_the_command_line_once_it_is_mended(
    service: Service, tmp_path: Path
) -> None:
    field = Field(service, Results(service))
    flows = {key: tmp_path / key / "orders.py" for key in ("charge", "refund")}
    for key, file in flows.items():
        file.parent.mkdir()
        file.write_text(CHANGED.format(key=key))
    field.worker = service.start("w0", flows=flows["charge"]).ready()
    field.send("orders/created", "order")
    run = field.open("order")
    until(lambda: (run, "charge") in facts_of(service).ended, SECONDS, "it is recorded", else_show=service.tails)
    field.worker.kill()

    field.worker = service.start("w0", flows=flows["refund"]).ready()
    service.command("runs", "resume", run, "wait")
    why = until(lambda: facts_of(service).stuck.get(run), SECONDS, "it is stuck", else_show=service.tails)
    assert "asks for step 'refund' (run), which is not recorded, before steps that are" in why
    logged = field.logged("run_stuck", workflow="order")
    assert (logged["run"], logged["reason"]) == (run, why)
    assert f"headgate runs retry {run}" in str(logged["remedy"])
    worker = field.worker
    until(lambda: worker.metric("headgate_runs_stuck") == 1, SECONDS, "it is counted", else_show=service.tails)
    field.worker.kill()

    field.worker = service.start("w0", flows=flows["charge"]).ready()
    said = service.command("runs", "retry", run)
    assert said.startswith(f"Asked {run} to go on if it is stuck (event ")
    assert field.result("order")["status"] == "completed"
    assert field.worker.stop() == 0
