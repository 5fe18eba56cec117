"""Runs that are started over HTTP and answered with their result, on a real Kafka."""

from pathlib import Path
from typing import Any

from tests.e2e.devrun import SECONDS, DevRun
from tests.e2e.waiting import until

FLOWS = """
from headgate import workflow


@workflow(id="double")
async def double(ctx, payload):
    return {"twice": 2 * payload["events"][0]["data"]["number"]}


@workflow(id="fails", max_retries=0)
async def fails(ctx, payload):
    raise ValueError("no luck")
"""

CHARGE = """
from headgate import workflow


@workflow(id="charge")
async def charge(ctx, payload):
    with open("charged", "a") as file:
        file.write(f"{ctx.run_id}\\n")
    return payload["events"][0]["data"]
"""


def test_a_call_is_answered_with_the_result_of_its_run(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    with DevRun(tmp_path, "flows.py") as dev:
        dev.ready()
        status, found = dev.ask("POST", "/api/v1/workflows/double/call?wait=30s", '{"number": 21}')
        assert (status, found["status"], found["result"]) == (200, "completed", {"twice": 42})
        status, found = dev.ask("POST", "/api/v1/workflows/fails/call?wait=30s", "{}")
        assert (status, found["status"], found["error"]["message"]) == (200, "failed", "no luck")
        status, found = dev.ask("POST", "/api/v1/workflows/nobody/call", "{}")
        assert (status, found["error"]["code"]) == (404, "workflow_not_found")
        _, address = dev.ask("POST", "/api/v1/workflows/double/call?wait=0", '{"number": 1}')
        assert address["run"] == f"/api/v1/runs/{address['run_id']}"

        def result() -> dict[str, Any] | None:
            status, shown = dev.ask("GET", address["run"], None)
            assert status == 200, shown
            return shown["run"] if "result" in shown["run"] else None

        found = until(result, SECONDS, "the run at the address is over", else_show=dev.log)
        assert (found["status"], found["result"]) == ("completed", {"twice": 2})


def test_a_repeated_call_with_its_key_is_the_same_run_and_gets_its_result(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(CHARGE)
    with DevRun(tmp_path, "flows.py", env={"HEADGATE_KAFKA_PARTITIONS": "1"}) as dev:
        dev.ready()
        call = "/api/v1/workflows/charge/call?wait="
        key = {"Idempotency-Key": "order-7"}
        _, address = dev.ask("POST", f"{call}0", "7", key)
        status, first = dev.ask("POST", f"{call}30s", "7", key)
        assert (status, first["run_id"], first["result"]) == (200, address["run_id"], 7)
        assert dev.ask("POST", f"{call}30s", "7", key) == (200, first)
        # What follows in the one partition is over after all that was there before.
        status, other = dev.ask("POST", f"{call}30s", "7", {"Idempotency-Key": "order-8"})
        assert status == 200
        assert (tmp_path / "charged").read_text().split() == [first["run_id"], other["run_id"]]
        assert {one["run_id"] for one in dev.runs()} == {first["run_id"], other["run_id"]}
