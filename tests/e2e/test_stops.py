"""A worker is asked to stop, or its brokers stop answering: it says so in time, and nothing new begins."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from app.kafka.admin import Admin
from app.kafka.embedded import EmbeddedKafka
from app.wiring import listening
from tests.e2e.load import Load
from tests.e2e.service import Service, Worker
from tests.e2e.tally import Tally
from tests.e2e.waiting import until

NOTICED_SECONDS: Final = 10.0
PATIENCE_SECONDS: Final = 30.0
"""Of an append that no broker answers."""


def readiness(worker: Worker) -> Any:
    """Return what /readyz says, whatever its status."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/readyz", timeout=5.0) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return json.load(refused)


def kafka_is_down(worker: Worker) -> dict[str, str] | None:
    """Return what the readiness says of Kafka, if that is why the worker is not ready."""
    found = readiness(worker)
    check: dict[str, Any] = found["checks"]["kafka"]
    return None if found["ready"] or check["up"] else check


def test_a_worker_that_stops_ends_what_goes_on_begins_nothing_and_leaves_snapshots(
    service: Service, load: Load, tally: Tally, tmp_path: Path
) -> None:
    gate, log, data = tmp_path / "gate", tmp_path / "gated.log", tmp_path / "data"
    worker = service.start("w0", worker_data=str(data), worker_drain_timeout_seconds="25").ready()
    for _ in range(100):
        load.send("slow", key=1, seconds=0.5)  # 50 s of work behind one key
    for key in range(4):
        load.send("gated", key=key, gate=str(gate), log=str(log))
        load.send("flaky", key=key, seconds=1.0)
    load.acknowledged()
    until(lambda: log.exists() and len(log.read_text().splitlines()) == 4, 20.0, "four handlers are in flight")
    tally.at_least(1)
    worker.ask_to_stop()
    until(lambda: worker.events("worker_stopping"), 5.0, "it stops", else_show=worker.tail)
    for _ in range(4):
        load.send("gated", gate=str(gate), log=str(log))
    load.acknowledged()
    gate.touch()
    assert worker.ended(10.0) == 0, "it does not wait for what is queued, nor for its drain timeout"
    assert len(log.read_text().splitlines()) == 4, "what came later is not begun"
    assert not worker.events("drain_ended_early")
    assert len(list(data.iterdir())) == service.partitions, "each partition left a snapshot"
    assert tally.count() < 50
    worker = service.start("w0", worker_data=str(data)).ready()
    assert worker.stop() == 0


def test_a_worker_that_stops_leaves_a_plain_function_behind_that_never_returns(
    service: Service, load: Load, tmp_path: Path
) -> None:
    log = tmp_path / "hangs.log"
    worker = service.start("w0", worker_drain_timeout_seconds="1").ready()
    load.send("hangs", log=str(log))
    load.acknowledged()
    until(log.exists, 20.0, "it has begun", else_show=worker.tail)
    worker.ask_to_stop()
    assert worker.ended(20.0) == 0
    assert worker.events("drain_ended_early")
    (line,) = worker.events("thread_left_behind")
    assert "flows.py" in str(line["place"])


def test_a_worker_says_what_it_has_loaded_until_it_stops_or_is_silent(service: Service, tmp_path: Path) -> None:
    def loaders() -> list[str]:
        now_ms = round(time.time() * 1000)
        heard = listening.heard(service.settings.kafka, Admin.connect(service.settings.kafka), now_ms=now_ms)
        assert "batched" in heard.workflows
        return [one.instance_id for one in heard.loaders("batched")]

    none = tmp_path / "none.py"
    none.write_text(
        "from headgate import workflow\n\n\n"
        '@workflow(id="other", trigger_on_event="other")\nasync def other(ctx, payload):\n    return None\n'
    )
    first = service.start("w0", worker_presence_seconds="1").ready()
    second = service.start("w1", worker_presence_seconds="1").ready()
    service.start("w2", flows=none, worker_presence_seconds="1").ready()
    until(lambda: loaders() == ["w0", "w1"], 20.0, "both are heard of", else_show=service.tails)
    assert first.stop() == 0
    assert loaders() == ["w1"], "it took its word back"
    second.kill()
    until(lambda: loaders() == [], 20.0, "the killed one is forgotten", else_show=service.tails)


def test_without_its_broker_a_worker_is_not_ready_waits_while_it_may_and_ends_with_its_own_code_when_it_must(
    own_kafka: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    kafka = own_kafka()
    kafka.start()
    gate, log = tmp_path / "gate", tmp_path / "gated.log"
    with (
        Service(kafka, "idle.", tmp_path / "idle") as resting,
        Service(kafka, "busy.", tmp_path / "busy") as working,
        Load(resting) as later,
        Load(working) as load,
        Tally(resting) as tally,
    ):
        idle, busy = resting.start("w0").ready(), working.start("w0").ready()
        load.send("gated", gate=str(gate), log=str(log))
        load.acknowledged()
        until(lambda: log.exists() and log.read_text(), 20.0, "a handler is in flight", else_show=busy.tail)
        until(lambda: readiness(idle)["ready"] and readiness(busy)["ready"], 5.0, "both are ready")
        kafka.kill()
        for worker in (idle, busy):
            check = until(partial(kafka_is_down, worker), NOTICED_SECONDS, "it is not ready", else_show=worker.tail)
            assert "no answer for" in check["detail"]
            assert "see to the brokers" in check["remedy"]
        gate.touch()  # from now on there is something to write
        assert busy.ended(PATIENCE_SECONDS + 15.0) == 3
        assert "Traceback" not in busy.log()
        assert f"Kafka at {kafka.bootstrap} does not answer" in busy.log()
        assert "headgate doctor" in busy.log()
        assert idle.alive, "it has nothing to write, and waits"
        kafka.start()
        until(lambda: readiness(idle)["ready"], NOTICED_SECONDS, "it is ready again", else_show=idle.tail)
        later.send_many(20)
        later.acknowledged()
        tally.confirm(later)
        busy = working.start("w0").ready()
        assert (idle.stop(), busy.stop()) == (0, 0)
