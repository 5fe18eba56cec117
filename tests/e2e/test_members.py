"""Workers that come, go, freeze, or share an id: partitions move, and each event has exactly one result."""

import os
import signal
from pathlib import Path

from tests.e2e.load import Load
from tests.e2e.service import Service, share_evenly
from tests.e2e.tally import Tally
from tests.e2e.waiting import until

FENCED = 4


def test_owner_frozen_past_its_session_is_refused_by_the_fence(
    service: Service, load: Load, tally: Tally, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "gated.log"
    frozen, other = service.start("w0"), service.start("w1")
    frozen.ready(), other.ready()
    share_evenly(frozen, other)
    for key in range(20):
        load.send("gated", key=key, gate=str(gate), log=str(log))
    until(lambda: log.exists() and len(log.read_text().splitlines()) == 20, 20.0, "all handlers are in flight")
    in_flight = sum(line.endswith(f" {frozen.pid}") for line in log.read_text().splitlines())
    assert in_flight > 0
    frozen.freeze()
    until(lambda: other.owned() == service.partitions, 20.0, "the other one owns everything", else_show=service.tails)
    gate.touch()
    load.send_many(100)
    load.acknowledged()
    tally.confirm(load)
    frozen.go_on()  # it still believes that it owns its partitions, and its handlers end now
    assert frozen.ended(20.0) == FENCED, frozen.tail()
    assert "a newer owner has the partition" in frozen.log()
    load.send_many(50)
    load.acknowledged()
    tally.confirm(load)
    assert other.stop() == 0


def test_worker_joins_under_load_and_leaves_again(service: Service, load: Load, tally: Tally) -> None:
    first = service.start("w0").ready()
    load.start(per_second=150)
    tally.at_least(100)
    second = service.start("w1").ready()
    share_evenly(first, second)
    before = tally.count()
    tally.at_least(before + 150)
    assert second.stop() == 0
    until(lambda: first.owned() == service.partitions, 20.0, "the first owns everything", else_show=service.tails)
    load.stop()
    tally.confirm(load)
    assert first.stop() == 0


def test_graceful_stop_lets_runs_in_flight_end(service: Service, load: Load, tally: Tally, tmp_path: Path) -> None:
    gate, log = tmp_path / "gate", tmp_path / "gated.log"
    worker = service.start("w0").ready()
    for key in range(10):
        load.send("gated", key=key, gate=str(gate), log=str(log))
    until(lambda: log.exists() and len(log.read_text().splitlines()) == 10, 20.0, "all handlers are in flight")
    worker.ask_to_stop()
    until(lambda: worker.events("worker_stopping"), 10.0, "it stops", else_show=service.tails)
    gate.touch()
    assert worker.ended(20.0) == 0, worker.tail()
    tally.confirm(load, seconds=5.0)
    assert len(log.read_text().splitlines()) == 10, "no handler ran twice"


def test_runs_that_do_not_end_in_time_go_on_with_the_next_worker(
    service: Service, load: Load, tally: Tally, tmp_path: Path
) -> None:
    gate, log = tmp_path / "gate", tmp_path / "gated.log"
    worker = service.start("w0", worker_drain_timeout_seconds="0.2").ready()
    load.send("gated", gate=str(gate), log=str(log))
    until(log.exists, 20.0, "the handler is in flight")
    assert worker.stop() == 0
    assert worker.events("drain_ended_early"), worker.tail()
    assert tally.count() == 0
    gate.touch()
    worker = service.start("w0").ready()
    tally.confirm(load)
    assert worker.stop() == 0


def test_two_workers_with_one_instance_id_are_named_and_double_nothing(
    service: Service, load: Load, tally: Tally
) -> None:
    first = service.start("same").ready()
    load.start(per_second=100)
    tally.at_least(100)
    second = service.start("same")
    until(lambda: not (first.alive and second.alive), 30.0, "one of them gives up", else_show=service.tails)
    loser, winner = (second, first) if first.alive else (first, second)
    assert loser.ended(5.0) == FENCED, loser.tail()
    assert "another process uses the instance id 'same'" in loser.log()
    winner.ready()
    until(lambda: winner.owned() == service.partitions, 20.0, "the winner owns everything", else_show=service.tails)
    load.stop()
    tally.confirm(load)
    assert winner.stop() == 0


def test_first_signal_stops_in_order_whichever_it_is(service: Service, load: Load, tally: Tally) -> None:
    worker = service.start("w0").ready()
    load.send_many(20)
    load.acknowledged()
    os.kill(worker.pid, signal.SIGINT)
    assert worker.ended(25.0) == 0, worker.tail()
    worker = service.start("w0").ready()
    tally.confirm(load)
    assert worker.stop() == 0
