"""`headgate dev`, as a newcomer meets it."""

import re
import socket
from collections.abc import Iterable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.devrun import SECONDS, DevRun
from tests.e2e.waiting import until

GREET = """\
from headgate import workflow

@workflow(id="greet", trigger_on_event="people/met")
async def greet(ctx, payload):
    return "{word} " + payload["events"][0]["data"]["name"]
"""


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "flows.py"
    path.write_text(GREET.format(word="hello"))
    return path


def all_gone(processes: Iterable[psutil.Process]) -> bool:
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


def test_it_runs_an_event_stops_cleanly_and_goes_on_with_its_data(tmp_path: Path, flows: Path) -> None:
    with DevRun(tmp_path, flows.name) as dev:
        dev.ready()
        dev.post({"topic": "people/met", "id": "meeting-1", "data": {"name": "ada"}})
        dev.said(r"result +\| completed greet:\w+ .*hello ada")
        children = dev.children()
        assert dev.interrupt() == 0
        assert all_gone(children)
    with DevRun(tmp_path, flows.name) as again:
        again.ready()
        again.post({"topic": "people/met", "id": "meeting-1", "data": {"name": "ada"}})
        again.post({"topic": "people/met", "id": "meeting-2", "data": {"name": "bob"}})
        log = again.said(r"result +\| completed greet:\w+ .*hello bob")
        assert "hello ada" not in log  # the id of the first start is known to the second
        assert again.interrupt() == 0


def test_it_is_ready_and_shown_where_its_settings_say_that_it_listens(tmp_path: Path, flows: Path) -> None:
    env = {"HEADGATE_GATEWAY_HOST": "127.0.0.2", "HEADGATE_WORKER_METRICS_HOST": "127.0.0.3"}
    env["HEADGATE_CONNECTORS_METRICS_HOST"] = "127.0.0.4"
    with DevRun(tmp_path, flows.name, env=env) as dev:
        dev.said(rf"^headgate ready: http://127\.0\.0\.2:{dev.port} kafka ")
        log = dev.said(r"^  data ")
        metrics = re.search(r"http://127\.0\.0\.3:\d+/metrics", log)
        assert metrics is not None
        assert "headgate_partitions" in httpx.get(metrics[0]).text


def test_a_changed_file_is_loaded_anew_and_a_broken_one_changes_nothing(tmp_path: Path, flows: Path) -> None:
    with DevRun(tmp_path, flows.name) as dev:
        dev.ready()
        flows.write_text(GREET.format(word="hello") + "x = = 1\n")
        dev.said("reload_failed .*SyntaxError")
        dev.post({"topic": "people/met", "data": {"name": "ada"}})
        dev.said("completed .*hello ada")
        flows.write_text(GREET.format(word="good morning"))
        dev.said("workflows_reloaded")
        dev.post({"topic": "people/met", "data": {"name": "bob"}})
        dev.said("completed .*good morning bob")


def test_a_changed_neighbour_is_loaded_anew_as_well(tmp_path: Path, flows: Path) -> None:
    neighbour = tmp_path / "words.py"
    neighbour.write_text('def greeting():\n    return "hello"\n')
    flows.write_text("import words\n" + GREET.format(word="").replace('" " + ', 'words.greeting() + " " + '))
    with DevRun(tmp_path, flows.name) as dev:
        dev.ready()
        dev.post({"topic": "people/met", "data": {"name": "ada"}})
        dev.said("completed .*hello ada")
        neighbour.write_text('def greeting():\n    return "good evening"\n')
        dev.said("workflows_reloaded")
        dev.post({"topic": "people/met", "data": {"name": "bob"}})
        dev.said("completed .*good evening bob")


def test_a_module_that_was_named_is_waited_for_and_loaded_anew_with_its_package(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "words.py").write_text('GREETING = "hello"\n')
    with DevRun(tmp_path, "shop.flows") as dev:
        dev.said("waiting: it starts again as soon as one of the files changes")
        text = "from shop import words\n" + GREET.format(word="").replace('" " + ', 'words.GREETING + " " + ')
        (package / "flows.py").write_text(text)
        dev.ready()
        dev.post({"topic": "people/met", "data": {"name": "ada"}})
        dev.said("completed .*hello ada")
        (package / "words.py").write_text('GREETING = "good evening"\n')
        dev.said("workflows_reloaded")
        dev.post({"topic": "people/met", "data": {"name": "bob"}})
        dev.said("completed .*good evening bob")


def test_workflows_that_cannot_be_loaded_are_told_and_waited_for(tmp_path: Path, flows: Path) -> None:
    flows.write_text(GREET.replace("trigger_on_event", "trigger_on_evnt"))
    with DevRun(tmp_path, flows.name) as dev:
        log = dev.said("waiting: it starts again as soon as one of the files changes")
        assert "there is no argument 'trigger_on_evnt'; write trigger_on_event=" in log
        assert "Traceback" not in log
        flows.write_text(GREET.format(word="hello"))
        dev.ready()


def test_a_killed_role_is_named_and_started_again(tmp_path: Path, flows: Path) -> None:
    with DevRun(tmp_path, flows.name) as dev:
        dev.ready()
        dev.child("app.cli.role worker").kill()
        dev.said(r"worker +\| was killed by SIGKILL; it starts again in 1 s")
        dev.post({"topic": "people/met", "data": {"name": "ada"}})
        dev.said("completed .*hello ada")
        dev.child("kafka.Kafka").kill()
        dev.said(r"kafka +\| ended unexpectedly; it starts again")
        dev.said(r"kafka +\| runs again")
        dev.post({"topic": "people/met", "data": {"name": "bob"}})
        dev.said("completed .*hello bob")


def test_nothing_outlives_a_killed_parent(tmp_path: Path, flows: Path) -> None:
    with DevRun(tmp_path, flows.name) as dev:
        dev.ready()
        children = dev.children()
        assert len(children) == 4
        dev.kill()
        until(lambda: all_gone(children), SECONDS, "all children are gone")


def test_without_a_path_events_wait_for_a_worker(tmp_path: Path, flows: Path) -> None:
    with DevRun(tmp_path) as dev:
        dev.ready()
        assert "no workflows were named, so no worker runs" in dev.said("no workflows")
        dev.post({"topic": "people/met", "data": {"name": "ada"}})
        assert dev.interrupt() == 0
    with DevRun(tmp_path, flows.name) as dev:
        dev.ready()
        until(lambda: [run["status"] for run in dev.runs()] == ["completed"], SECONDS, "the event has run")


def test_what_comes_to_nothing_is_told_and_a_failure_says_where_to_look(tmp_path: Path, flows: Path) -> None:
    flows.write_text(GREET.format(word="hello").replace("trigger_on", "max_retries=0, trigger_on"))
    with DevRun(tmp_path, flows.name) as dev:
        dev.ready()
        dev.said(r"""-d '{"name": "people/met", "payload": {"id": 1}}'""")
        dev.post({"topic": "peple/met", "data": {"name": "ada"}})
        dev.said(r"dev +\| 1 event matched no workflow: peple/met \(did you mean people/met\?\)")
        for _ in range(2):
            dev.post({"topic": "people/met", "id": "same", "data": {"name": "ada"}})
        dev.said(r"dev +\| 1 event dropped as duplicates")
        dev.post({"topic": "people/met", "id": "wrong", "data": {"name": 1}})
        dev.said(rf"result +\| traceback: headgate runs show greet:\w+ --url http://127\.0\.0\.1:{dev.port}$")


def test_a_taken_port_is_told_with_its_remedy(tmp_path: Path, flows: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with DevRun(tmp_path, flows.name, options=["--port", str(port)]) as dev:
            assert dev.ended() == 2
            assert f"Port {port} of 127.0.0.1 is taken by" in dev.log()
            assert "choose another port with --port" in dev.log()
        with DevRun(tmp_path, flows.name, options=["--kafka-port", str(port)]) as dev:
            assert dev.ended() == 2
            assert "choose another port with --kafka-port" in dev.log()


def test_a_path_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with DevRun(tmp_path, "nowhere/flows.py") as dev:
        assert dev.ended() == 2
        assert "there is no file or folder nowhere/flows.py" in dev.log()


def test_only_this_machine_can_connect(tmp_path: Path, flows: Path) -> None:
    with DevRun(tmp_path, flows.name) as dev:
        dev.ready()
        listening = {
            connection.laddr.ip.removeprefix("::ffff:")
            for process in dev.children()
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        asked = {"Authorization": "Bearer test-token", "Host": "evil.example"}
        assert httpx.get(f"http://127.0.0.1:{dev.port}/api/v1/runs", headers=asked).status_code == 403
    with DevRun(tmp_path, flows.name, env={"HEADGATE_GATEWAY_HOST": "0.0.0.0"}) as dev:
        assert dev.ended() == 2
        assert "development listens on this machine only" in dev.log()


def test_an_existing_kafka_is_used_when_it_is_named(tmp_path: Path, flows: Path) -> None:
    with DevRun(tmp_path) as broker:
        broker.ready()
        other = tmp_path / "other"
        other.mkdir()
        with DevRun(other, str(flows), kafka=broker.kafka) as dev:
            dev.ready()
            broker.post({"topic": "people/met", "data": {"name": "ada"}})
            dev.said("completed .*hello ada")
            assert dev.interrupt() == 0
        with DevRun(other, str(flows), kafka=broker.kafka, options=["--kafka-port", "9092"]) as both:
            assert both.ended() == 2
            assert "--kafka-port is for the embedded Kafka" in both.log()
