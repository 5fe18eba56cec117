"""Runs that are started over HTTP and answered with their result, on a real Kafka."""

from pathlib import Path

from tests.e2e.devrun import DevRun

FLOWS = """
from headgate import workflow


@workflow(id="double")
async def double(ctx, payload):
    return {"twice": 2 * payload["events"][0]["data"]["number"]}


@workflow(id="fails", max_retries=0)
async def fails(ctx, payload):
    raise ValueError("no luck")
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
