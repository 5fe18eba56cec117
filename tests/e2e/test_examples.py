"""The examples do what they say, on a real Kafka."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from app.kafka.embedded import ports
from tests.e2e.devrun import ROOT, SECONDS, DevRun
from tests.e2e.waiting import until

EXAMPLES = ROOT / "examples"


def outcomes(dev: DevRun) -> dict[str, list[str]]:
    """The statuses of all runs by workflow."""
    found: dict[str, list[str]] = {}
    for run in dev.runs():
        found.setdefault(run["workflow_id"], []).append(run["status"])
    return {name: sorted(statuses) for name, statuses in sorted(found.items())}


def become(dev: DevRun, expected: dict[str, list[str]]) -> None:
    """Return once the runs are these and no others."""
    until(lambda: outcomes(dev) == expected, SECONDS, f"the runs are {expected}", else_show=lambda: f"{outcomes(dev)}")


def test_webshop_runs_two_workflows_on_one_event_and_rejects_what_is_no_order(tmp_path: Path) -> None:
    with DevRun(tmp_path, str(EXAMPLES / "webshop")) as dev:
        dev.ready()
        dev.post({"name": "order.created", "payload": {"id": 1}})
        become(dev, {"charge_order": ["completed"], "reserve_stock": ["completed"]})
        dev.post({"name": "order.created", "payload": {"id": 2, "total": -1}})
        dev.post({"name": "order.created", "payload": {"total": 3}})
        become(
            dev,
            {"charge_order": ["completed", "rejected", "rejected"], "reserve_stock": ["completed"] * 2 + ["rejected"]},
        )
        log = dev.said("dlq .*run_rejected", times=3)
        assert "order 2 has a negative total (-1)" in log


def test_event_triggered_shows_every_trigger(tmp_path: Path) -> None:
    def send(topic: str, data: dict[str, Any]) -> None:
        dev.post({"topic": topic, "data": data})

    with DevRun(tmp_path, str(EXAMPLES / "event_triggered")) as dev:
        dev.ready()
        send("orders/created", {"order_id": 1, "total": 50})
        send("orders/created", {"order_id": 2, "total": 500})
        send("payments/card/failed", {})
        for value in range(20):
            send("data/updates", {"value": value})
        dev.post_all(
            [{"topic": "sensors.readings", "data": {"celsius": n}, "key": "ab"[n % 2]} for n in range(4)]
        )  # in one request: half a second is all that they get to meet
        send("contacts/imported", {"email": "ada@example.org", "busy": True})
        send("contacts/imported", {"email": "nobody"})
        become(
            dev,
            {
                "audit": ["completed"] * 5,  # two orders, two that on_order_created published, one payment
                "batch_processor": ["completed"] * 2,
                "import_contact": ["completed", "rejected"],
                "large_orders": ["completed"],
                "on_order_charged": ["completed"] * 2,
                "on_order_created": ["completed"] * 2,
                "readings_by_sensor": ["completed"] * 2,
            },
        )
        attempts = {run["attempts"] for run in dev.runs() if run["workflow_id"] == "import_contact"}
        assert attempts == {1, 2}


def test_an_order_waits_for_its_approval_over_the_death_of_its_worker(tmp_path: Path) -> None:
    with DevRun(tmp_path, str(EXAMPLES / "orders")) as dev:
        dev.ready()
        dev.post({"topic": "orders/placed", "data": {"id": "o-1", "total": 2000}, "key": "ada"})
        dev.post({"topic": "orders/placed", "data": {"id": "o-2", "total": 20}, "key": "ada"})
        until(lambda: len(dev.runs()) == 2, SECONDS, "both runs are known", else_show=dev.log)
        dev.child("app.cli.role worker").kill()
        dev.post({"topic": "orders/o-1/decided", "data": {"approved": True, "by": "Ann"}})
        become(dev, {"process_order": ["completed"] * 2})
        records = [dev.ask("GET", f"/api/v1/runs/{run['run_id']}", None)[1]["run"] for run in dev.runs()]
        assert sorted(one["result"]["parcel"] for one in records) == ["parcel-of-o-1", "parcel-of-o-2"]


def test_a_request_is_answered_though_the_answer_comes_at_once(tmp_path: Path) -> None:
    with DevRun(tmp_path, str(EXAMPLES / "requests")) as dev:
        dev.ready()
        status, found = dev.ask("POST", "/api/v1/workflows/requester/call?wait=30s", "{}")
        assert (status, found["status"], found["result"]) == (200, "completed", {"done": "process"})


def test_the_page_shows_what_waits_and_takes_the_decision(tmp_path: Path) -> None:
    with DevRun(tmp_path, str(EXAMPLES / "approvals")) as dev:
        dev.ready()
        port = ports.free_port()
        url = f"http://127.0.0.1:{port}"
        script, gateway = str(EXAMPLES / "approvals/page.py"), f"http://127.0.0.1:{dev.port}"
        page = subprocess.Popen(
            [sys.executable, script, "--port", f"{port}", "--gateway", gateway],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def shown(body: bytes | None = None, **headers: str) -> str:
            try:
                with urlopen(Request(url, body, headers), timeout=SECONDS) as answer:
                    return str(answer.read().decode())
            except HTTPError as refused:
                return f"{refused.code}"
            except URLError:
                return ""

        try:
            dev.post({"topic": "expenses/reported", "data": {"by": "Ada & Co", "what": "a train", "amount": 180}})
            until(lambda: "Ada &amp; Co: a train, 180.00" in shown(), SECONDS, "the page shows it", else_show=shown)
            decision = urlencode({"run": dev.runs()[0]["run_id"], "approved": "yes"}).encode()
            assert shown(decision, **{"Sec-Fetch-Site": "cross-site"}) == "403"
            shown(decision)
            until(lambda: "Nothing waits for you" in shown(), SECONDS, "nothing waits", else_show=shown)
            become(dev, {"expenses": ["completed"]})
        finally:
            page.kill()
            page.wait()


def test_worker_py_serves_the_same_workflows_by_itself(tmp_path: Path) -> None:
    with DevRun(tmp_path) as dev:
        dev.ready()
        worker = subprocess.Popen(
            [sys.executable, str(EXAMPLES / "event_triggered" / "worker.py"), "--metrics-port", "none"],
            env={**os.environ, "HEADGATE_KAFKA_BOOTSTRAP": dev.kafka},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            dev.post({"topic": "orders/created", "data": {"order_id": 1}})
            become(
                dev, {"audit": ["completed"] * 2, "on_order_charged": ["completed"], "on_order_created": ["completed"]}
            )
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(SECONDS) == 0
        finally:
            worker.kill()
            worker.wait()


def test_a_worker_started_outside_of_the_environment_says_what_to_do(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.symlink_to(Path(sys.executable).resolve())  # no headgate lies beside it
    done = subprocess.run(
        [python, str(EXAMPLES / "event_triggered" / "worker.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{python} has no headgate beside it. Activate the environment")
    assert "Traceback" not in done.stderr
