"""Steps in snapshots and in journals, wherever their owner crashes."""

from typing import Any

import pytest

from app.engine.effects import Go, Resolve, Rise
from app.engine.inputs import Evicted
from app.engine.journal import snapshot
from app.engine.journal.restore import restore
from app.engine.tables.run import RunStatus
from app.engine.tables.state import policy_of
from app.engine.values.asks import Note, Sleep, Suspend
from tests.unit.app.engine.onerun import CALL, HOUR, asleep, begun, crashed, resumed
from tests.unit.app.engine.partition import NOW, canonical, event, failure, run_id


def test_a_snapshot_holds_steps_as_the_journal_does() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.step_ends(run, "call", b'"' + b"x" * 3_000 + b'"')
    partition.commit()
    asleep(partition, run)
    partition.deliver(partition.state.round)
    partition.commit()
    partition.deliver(partition.state.round)
    assert snapshot.possible(partition.state)

    content = snapshot.encode(partition.state, next_offset=len(partition.log), about={})
    assert b"xxx" not in content
    found = snapshot.decode(content, policy_of(partition.limits))
    back = restore(found.entities, 0, partition.limits, journal_id="j", remembered=found.remembered).state
    whole = crashed(partition)
    again = whole.run(run).steps
    steps_back = back.runs[run].steps
    assert steps_back is not None
    assert again is not None
    assert partition.run(run).steps is not None
    assert steps_back.places == partition.run(run).steps.places  # type: ignore[union-attr]
    assert (list(steps_back.open), steps_back.asked, steps_back.resting) == (["nap"], 2, True)


PROGRAM: list[tuple[str, Any, str]] = [
    ("tell", Note(b'"id"', quiet=True), "quiet"),
    ("now", Note(b"5"), "noted"),
    ("call", CALL, "fails once"),
    ("nap", Sleep(until_ms=NOW + HOUR), "time"),
    ("ok?", Suspend(data=b"null", deadline_ms=NOW + 9 * HOUR), "resumed"),
]


@pytest.mark.parametrize("lost", range(12))
@pytest.mark.parametrize("evicts", [False, True])
def test_a_run_comes_to_its_end_wherever_its_owner_crashes(lost: int, *, evicts: bool) -> None:
    """Play a program of steps; the commit of one round never comes, and the next owner goes on from the one before."""
    partition, run = begun(timeout=None)
    commits = executed = 0
    recorded: dict[str, bytes | None] = {}
    asked: set[str] = set()
    finished = False
    for _ in range(200):
        if finished:
            break
        for key, ask, _how in PROGRAM:  # as its function does: the first step that is not recorded
            if key in recorded:
                continue
            in_memory = partition.run(run).status in (RunStatus.RUNNING, RunStatus.WAITING)
            if in_memory and key not in asked:
                asked.add(key)
                partition.ask(run, key, ask)
                if key == "tell":
                    recorded[key] = b'"id"'
                    continue
            break
        else:
            partition.complete(run)
            finished = True
        status = partition.state.runs[run].status if run in partition.state.runs else None
        if status is RunStatus.WAITING and evicts:
            partition.give(Evicted([run]))
        if commits == lost:
            partition = crashed(partition)
            partition.in_hand.setdefault(run, 1)
            commits += 1
            if run not in partition.in_hand or run not in partition.state.runs:
                break
            finished = False
            recorded = {}
            asked = set()
            partition.after += [
                one
                for one in [Rise(partition.run(run))]
                if not partition.after and partition.run(run).status is RunStatus.RUNNING
            ]
        else:
            commits += partition.commit() is not None
            partition.give()
        for told in partition.told():
            if isinstance(told, Resolve):
                recorded[told.key] = told.outcome.value
            elif isinstance(told, Rise):
                asked = set()
                recorded = {one.key: one.outcome.value for one in told.recorded if one.outcome is not None}
            elif isinstance(told, Go):
                executed += 1
                partition.step_ends(run, told.key, b"7", failure(retry_after_ms=1) if told.attempt == 1 else None)
        partition.wait(HOUR // 4)
        found = partition.state.runs.get(run)
        if found is not None and found.steps is not None and "ok?" in found.steps.open:
            resumed(partition, run, "ok?", b'"yes"')

    assert finished
    assert {"run", "step", "body"} & partition.kinds().keys() == set()
    assert partition.state.runs == {}
    assert 2 <= executed <= 4


def test_states_that_are_restored_go_on_alike() -> None:
    partition, run = begun()
    partition.ask(run, "call", CALL)
    partition.step_ends(run, "call")
    partition.ask(run, "nap", Sleep(until_ms=NOW + HOUR))
    partition.commit()
    partition.give(Evicted([run]))
    again = crashed(partition)

    assert canonical(again.state)["runs"] == canonical(partition.state)["runs"]
    assert run_id("charge", event(0)) == run
