"""Workers and brokers killed with kill -9: each event has exactly one result."""

import time
from collections.abc import Callable
from pathlib import Path

from app.kafka.embedded import EmbeddedKafka
from tests.e2e.load import Load
from tests.e2e.service import Service, share_evenly
from tests.e2e.tally import Tally, dead_letters
from tests.e2e.waiting import until


def test_worker_killed_under_load_goes_on_under_its_id(service: Service, load: Load, tally: Tally) -> None:
    worker = service.start("w0").ready()
    load.start(per_second=150)
    for results in (150, 400):
        tally.at_least(results)
        worker.kill()
        worker = service.start("w0").ready()
    load.stop()
    verdict = tally.confirm(load)
    assert verdict.statuses.keys() == {"completed", "rejected", "cancelled"}
    rejected = {number for workflow, number in load.expected if workflow == "rejecting"}
    letters = dead_letters(service)
    assert {letter["code"] for letter in letters} == {"run_rejected"}
    assert len({letter["run_id"] for letter in letters}) == len(rejected)
    assert worker.stop() == 0


def test_other_worker_takes_over_from_a_killed_one(service: Service, load: Load, tally: Tally) -> None:
    killed, other = service.start("w0"), service.start("w1")
    killed.ready(), other.ready()
    share_evenly(killed, other)
    load.start(per_second=150)
    tally.at_least(150)
    theirs = killed.owned()
    until(
        lambda: other.metric("headgate_standby_partitions") == theirs,
        20.0,
        "the other one has read ahead what is not its own",
        else_show=service.tails,
    )
    killed.kill()
    until(lambda: other.owned() == service.partitions, 20.0, "the other one owns everything", else_show=service.tails)
    load.send_many(50)
    load.stop()
    tally.confirm(load)
    claimed = other.events("partition_claimed")[-theirs:]
    assert [one["from_standby"] for one in claimed] == [True] * theirs
    assert other.stop() == 0


def test_broker_killed_under_load_loses_and_doubles_nothing(
    own_kafka: Callable[..., EmbeddedKafka], tmp_path: Path
) -> None:
    kafka = own_kafka()
    kafka.start()
    with Service(kafka, "crash.", tmp_path / "service") as service, Load(service) as load, Tally(service) as tally:
        worker = service.start("w0").ready()
        load.start(per_second=150)
        tally.at_least(150)
        kafka.kill()
        kafka.start()
        before = tally.count()
        tally.at_least(before + 300)
        load.stop()
        tally.confirm(load)
        assert worker.alive, "the worker waits for its broker"
        assert worker.stop() == 0


def test_what_was_going_on_at_a_kill_goes_on_with_its_deadlines(
    service: Service, load: Load, tally: Tally, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "gated.log"
    worker = service.start("w0").ready()
    for key in range(6):
        load.send("gated", key=key, gate=str(gate), log=str(log))  # handlers in flight
        load.send("patient", key=key)  # half a batch, due 6 s after its first event
        load.send("flaky", key=key, seconds=5.0)  # a retry in 5 s
        load.send("slow", key=1, seconds=0.2)  # a queue behind one key
    load.acknowledged()
    sent = time.time()
    until(lambda: log.exists() and len(log.read_text().splitlines()) == 6, 20.0, "six handlers are in flight")
    until(lambda: worker.metric("headgate_runs_retried_total") == 6, 20.0, "six retries are pending")
    worker.kill()
    worker = service.start("w0").ready()
    until(lambda: len(log.read_text().splitlines()) == 12, 20.0, "they are in flight again", else_show=service.tails)
    gate.touch()
    verdict = tally.confirm(load)
    assert verdict.statuses == {"completed": 19}, "6 gated, 1 batch, 6 retried, 6 slow"
    ended = {result["workflow_id"]: at / 1000 - sent for result, at in zip(tally.results, tally.times, strict=True)}
    assert 4.0 < ended["flaky"] < 9.0, "the retry kept its deadline: it began before the kill"
    assert 5.0 < ended["patient"] < 10.0, "the batch kept its deadline: it began before the kill"
    attempts = {line.split()[1] for line in log.read_text().splitlines()}
    assert attempts == {"1"}, "an attempt that a crash cut off is the same attempt"
    assert worker.stop() == 0
