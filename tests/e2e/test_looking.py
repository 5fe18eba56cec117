"""A durable run as people see it: shown while it waits, resumed from the command line, explained."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.e2e.devrun import HEADGATE, SECONDS, DevRun
from tests.e2e.waiting import until

FLOWS = """
from headgate import workflow


async def reserve():
    return "shelf 7"


def never(event):
    return False


@workflow(id="order", trigger_on_event="orders/*")
async def order(ctx, payload):
    await ctx.step.run("reserve", reserve)
    await ctx.step.publish_event("tell", "mails/wanted", {"order": 1})
    paid = await ctx.step.wait_for_event("paid?", "payments/received", timeout=600)
    ok = await ctx.step.suspend("approval", {"who": "the boss"}, timeout=600)
    return {"paid": paid.data, "ok": ok}


@workflow(id="dotted", trigger_on_event="orders.created")
async def dotted(ctx, payload):
    return None


@workflow(id="picky", trigger_on_event="orders/*", filter=never)
async def picky(ctx, payload):
    return None
"""


def test_a_durable_run_is_shown_resumed_and_explained(tmp_path: Path) -> None:
    (tmp_path / "flows.py").write_text(FLOWS)
    with DevRun(tmp_path, "flows.py") as dev:
        dev.ready()
        at = {"HEADGATE_KAFKA_BOOTSTRAP": dev.kafka, "HEADGATE_GATEWAY_URL": f"http://127.0.0.1:{dev.port}"}

        def headgate(*arguments: str, code: int = 0) -> str:
            ended = subprocess.run(
                [str(HEADGATE), *arguments],
                cwd=tmp_path,
                env={**os.environ, **at},
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            assert ended.returncode == code, ended.stderr + dev.log()
            return ended.stdout

        def run_that_is(status: str) -> str | None:
            _, found = dev.ask("GET", f"/api/v1/runs?status={status}&workflow=order", None)
            return found["runs"][0]["run_id"] if found["runs"] else None

        def steps(run_id: str, *options: str) -> dict[str, Any]:
            shown = json.loads(headgate("runs", "show", run_id, "--json", *options))
            return {one["step"]: one for one in shown["steps"]}

        event = {"topic": "orders/created", "data": {"order": 1}, "id": "order-1", "key": "k"}
        dev.post(event)
        run_id = until(lambda: run_that_is("waiting"), SECONDS, "the run waits", else_show=dev.log)
        waits = steps(run_id)
        assert waits == steps(run_id, "--kafka", dev.kafka)
        assert {name: (one["kind"], one["state"]) for name, one in waits.items()} == {
            "reserve": ("run", "done"),
            "tell": ("note", "done"),
            "paid?": ("await", "open"),
        }
        assert waits["tell"]["published"] == f"{run_id}:tell"
        assert "payments/received" in waits["paid?"]["waits_for"]
        assert waits["paid?"]["since"] < waits["paid?"]["until"]

        dev.post({"topic": "payments/received", "data": 7, "id": "paid-1"})
        until(lambda: "approval" in steps(run_id), SECONDS, "the run goes on", else_show=dev.log)
        assert [one["id"] for one in steps(run_id)["paid?"]["received"]] == ["paid-1"]
        asks = steps(run_id)["approval"]
        assert (asks["kind"], asks["state"]) == ("suspend", "open")
        said = headgate("runs", "resume", run_id, "approval", '{"by": "us"}')
        assert said.startswith(f"Asked step approval of {run_id} to go on (event ")
        until(lambda: run_that_is("completed"), SECONDS, "the run is over", else_show=dev.log)
        assert "received paid-1" in headgate("runs", "show", run_id)
        over = json.loads(headgate("runs", "show", run_id, "--json"))
        assert over["run"]["result"] == {"paid": 7, "ok": {"by": "us"}}

        dev.post(event)
        explained = json.loads(headgate("explain", "order-1", "--json"))
        assert len(explained["repeated_by"]) == 1
        assert [(one["workflow"], one["became"], one["run_id"]) for one in explained["workflows"]] == [
            ("dotted", "no match", None),
            ("order", "completed", run_id),
            ("picky", "filtered", None),
        ]
        assert explained["workflows"][0]["why"] == (
            "'orders.created': the topic splits at '/', 'orders.created' at '.'"
        )
        again = explained["repeated_by"][0]
        place = f"{again['partition']}-{again['offset']}"
        assert (
            json.loads(headgate("explain", place, "--json"))["duplicate_of"]["offset"] == explained["event"]["offset"]
        )
        [wait] = json.loads(headgate("explain", "paid-1", "--json"))["waits"]
        assert (wait["run_id"], wait["step"], wait["became"]) == (run_id, "paid?", "received")
        assert headgate("explain", "nobody", code=1) == ""

        called = json.loads(headgate("call", "dotted", "--wait", "30s", "--json"))
        assert (called["status"], called["workflow_id"]) == ("completed", "dotted")
        for name in ("cancel", "retry"):
            sent = json.loads(headgate("runs", name, run_id, "--json"))
            assert (sent["topic"], sent["id"]) == (f"headgate/{name}", f"{sent['partition']}-{sent['offset']}")
