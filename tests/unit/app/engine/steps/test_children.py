"""Children: started by events of their own, and what they came to reaches their parent once."""

from typing import Any

import orjson
import pytest

from app.engine.effects import Resolve, Rise
from app.engine.inputs import Evicted
from app.engine.tables.run import RunStatus
from app.engine.values.asks import Child, Fault, Invoke, Kind, Outcome, Recorded
from app.engine.values.outgoing import Outgoing
from tests.unit.app.engine.partition import (
    NOW,
    Partition,
    canonical,
    commanded,
    dead,
    event,
    facts,
    failure,
    flow,
    of_topic,
    run_id,
    summary,
)
from topics import asked, codec, commands, keys
from topics.envelope import Envelope
from topics.reserved import start_topic

PARENT, CHILD = flow("parent"), flow("child", None)


def parent(*workflows: Any, **options: Any) -> tuple[Partition, str]:
    """A partition with a run that goes on."""
    partition = Partition(PARENT, *(workflows or (CHILD,)), **options)
    (run,) = partition.read(event(0))
    partition.commit()
    return partition, run


def invoke(*names: str, wait: bool = True, payload: bytes = b'{"n":1}') -> Invoke:
    return Invoke(children=tuple(Child(workflow_id=one, payload=payload) for one in names), wait=wait)


def produced(outgoing: Outgoing, *, first: int = 1) -> list[Envelope]:
    """The events that a round sent out, as they are read."""
    return [
        codec.decode(
            one.value,
            one.key,
            one.headers,
            partition=one.partition or 0,
            offset=first + at,
            timestamp_ms=NOW,
            max_bytes=None,
        )
        for at, one in enumerate(of_topic(outgoing, "events"))
    ]


def resolved(partition: Partition) -> list[Outcome]:
    return [one.outcome for one in partition.told() if isinstance(one, Resolve)]


def outcome(*children: dict[str, Any]) -> Outcome:
    return Outcome(orjson.dumps(list(children)))


def test_a_child_that_nobody_waits_for_is_known_by_its_run_id_before_it_begins() -> None:
    partition, run = parent()
    partition.ask(run, "go", invoke("child", "child", wait=False))

    (found,) = resolved(partition)
    events = produced(partition.committed())
    assert [(one.id, one.topic, one.source, one.key, one.data) for one in events] == [
        (f"{run}#{n}:go", "headgate/start/child", "headgate/parent", None, {"n": 1}) for n in (0, 1)
    ]
    told = dict(events[0].raw_headers)
    assert [told["causation_id"], told["causation_step"]] == [run.encode(), b"go"]
    assert told["causation_event"] == partition.run(run).events[0].id.encode()
    started = partition.read(*events)
    assert orjson.loads(found.value or b"") == started == [run_id("child", one) for one in events]
    partition.complete(*started)
    assert resolved(partition) == []


def test_a_parent_that_waits_is_told_when_all_children_have_ended() -> None:
    partition, run = parent()
    partition.ask(run, "go", invoke("child", "child"))
    assert partition.run(run).status is RunStatus.WAITING
    first, second = partition.read(*produced(partition.committed()))

    partition.complete(second, result=b'{"second":12345678901234567890123}')
    partition.commit()
    assert resolved(partition) == []
    partition.fail(first, failure("no such card", kind="Reject", rejected=True))

    expected = (
        b'[{"status":"rejected","error":{"type":"Reject","message":"no such card"}},'
        b'{"status":"completed","result":{"second":12345678901234567890123}}]'
    )
    assert resolved(partition) == [Outcome(expected)]
    assert partition.run(run).status is RunStatus.RUNNING


def test_a_parent_that_waits_tells_which_runs_it_waits_for() -> None:
    partition, run = parent()
    partition.ask(run, "go", invoke(*["child"] * 101))
    committed = partition.committed()
    started = partition.read(*produced(committed))

    waiting = next(one for one in facts(committed) if one["fact"] == "step_waiting")
    assert waiting["children"] == started[:100]
    assert waiting["children_count"] == 101
    partition.complete(*started)
    finished = next(one for one in facts(partition.committed()) if one["fact"] == "step_finished")
    assert (finished["children"], finished["children_count"]) == (started[:100], 101)


def test_children_that_could_not_be_started_are_none_of_the_steps() -> None:
    partition, run = parent()
    partition.ask(run, "go", Invoke(children=(Child(workflow_id="child", payload=b"7" * 2_000_000),), wait=True))

    finished = next(one for one in facts(partition.committed()) if one["fact"] == "step_finished")
    assert finished["error"]["type"] == "StepLimit"
    assert "children" not in finished


def test_what_children_came_to_before_a_takeover_is_not_lost() -> None:
    partition, run = parent()
    partition.ask(run, "go", invoke("child", "child"))
    first, second = partition.read(*produced(partition.committed()))
    partition.complete(first, result=b"1")
    partition.commit()

    other = partition.takeover(PARENT, CHILD)
    assert canonical(other.state)["runs"][run]["steps"]["open"].keys() == {"go"}
    assert other.run(run).status is RunStatus.COLD
    other.complete(second, result=b"2")
    other.commit()
    other.give()

    (risen,) = [one for one in other.told() if isinstance(one, Rise) and one.run.id == run]
    value = outcome({"status": "completed", "result": 1}, {"status": "completed", "result": 2})
    about = "Invoke go"
    assert risen.recorded == (Recorded(key="go", kind=Kind.INVOKE, about=about, outcome=value),)


def test_an_evicted_parent_is_called_anew() -> None:
    partition, run = parent()
    partition.ask(run, "go", invoke("child"))
    (child,) = partition.read(*produced(partition.committed()))
    partition.commit()
    partition.give(Evicted([run]))
    assert partition.run(run).status is RunStatus.COLD
    partition.told()

    partition.complete(child, result=b"1")
    partition.commit()
    partition.give()
    (risen,) = [one for one in partition.told() if isinstance(one, Rise)]
    assert [one.outcome for one in risen.recorded] == [outcome({"status": "completed", "result": 1})]


def test_a_child_that_is_told_of_twice_or_too_late_counts_once() -> None:
    partition, run = parent()
    partition.ask(run, "go", invoke("child", "child"))
    partition.commit()
    told = [asked.Child(run, "go", 0, "completed", value) for value in (b"1", b"2")]
    for number, one in enumerate([*told, asked.Child(run, "go", 9, "completed", b"3")]):
        partition.commanded(command(number + 1, one))
    assert resolved(partition) == []
    partition.commanded(command(4, asked.Child(run, "go", 1, "completed", b"4")))
    value = outcome({"status": "completed", "result": 1}, {"status": "completed", "result": 4})
    assert resolved(partition) == [value]
    partition.commit()
    partition.commanded(command(5, asked.Child(run, "go", 1, "completed", b"5")))
    assert resolved(partition) == []


def command(sequence: int, *asks: asked.Ask, partitions: int = 1) -> commands.Command:
    return commands.Command(7, "other", sequence, partitions, (), (), asks)


def test_a_child_elsewhere_tells_the_partition_of_its_parent() -> None:
    here = Partition(CHILD, partition=1, partitions=2)
    there, run = parent(partitions=2) if keys.home_of(event(0), 2) == 0 else (None, "")
    assert there is not None
    number = next(n for n in range(99) if keys.partition_of(f"{run}#0:{n}".encode(), 2) == 1)
    there.ask(run, str(number), invoke("child"))
    (started,) = produced(there.committed())

    (child,) = here.read(started)
    here.complete(child, result=b'"well"')
    outgoing = here.committed()

    assert summary(outgoing) == [(child, "completed", "well")]
    ((destination, told),) = commanded(outgoing)
    assert (destination, told.asks) == (0, [asked.Child(run, str(number), 0, "completed", b'"well"')])


def test_a_child_whose_workflow_nobody_knows_fails_and_is_a_dead_letter() -> None:
    partition, run = parent()
    partition.ask(run, "go", invoke("nobody"))
    assert partition.read(*produced(partition.committed())) == []

    error = {"type": "no_such_workflow", "message": "no workflow 'nobody' was known when the event came"}
    assert resolved(partition) == [outcome({"status": "failed", "error": error})]
    (letter,) = dead(partition.committed())
    assert (letter["code"], letter["workflow_id"]) == ("no_such_workflow", "nobody")


def test_a_child_whose_workflow_is_on_its_way_waits_for_it_and_is_given_up_when_it_is_retired() -> None:
    partition, run = parent()
    partition.ask(run, "go", invoke("child", "child"))
    events = produced(partition.committed())

    for retired in (False, True):
        late = Partition(PARENT)
        late.commit()
        assert late.read(*events) == []
        assert dead(late.committed()) == []
        if retired:
            late.load(PARENT, retired={"child": NOW})
            assert [one["code"] for one in dead(late.committed())] == ["workflow_retired"] * 2
        else:
            assert late.load(PARENT, CHILD) == [run_id("child", one) for one in events]


@pytest.mark.parametrize("why", ["filtered", "filter_failed"])
def test_a_child_that_its_filter_does_not_take_fails(why: str) -> None:
    def passes(event: Any) -> bool:
        return bool(event["data"]["no"]) if why == "filter_failed" else False

    partition, run = parent(flow("child", None, filter=passes))
    partition.ask(run, "go", invoke("child"))
    assert partition.read(*produced(partition.committed())) == []
    (found,) = resolved(partition)
    assert orjson.loads(found.value or b"")[0]["error"]["type"] == why


def test_another_workflow_that_takes_the_childs_event_as_well_tells_nothing() -> None:
    partition, run = parent(CHILD, flow("audit", "headgate/start/*"))
    partition.ask(run, "go", invoke("child"))
    audit, child = partition.read(*produced(partition.committed()))
    assert audit.startswith("audit:")
    partition.complete(audit, result=b'"seen"')
    assert resolved(partition) == []
    partition.complete(child, result=b'"done"')
    assert resolved(partition) == [outcome({"status": "completed", "result": "done"})]


def test_what_children_came_to_is_bounded() -> None:
    partition, run = parent(result_bytes=60)
    partition.ask(run, "go", invoke("child", "child", "child"))
    first, second, _ = partition.read(*produced(partition.committed()))
    partition.complete(first, result=b'"%s"' % (b"x" * 20))
    assert resolved(partition) == []
    partition.complete(second, result=b'"%s"' % (b"x" * 20))
    (found,) = resolved(partition)
    assert found.fault is not None
    assert found.fault.type == "ResultTooLarge"


@pytest.mark.parametrize(
    ("name", "payload", "kind"),
    [("child", b'"%s"' % (b"x" * 2_000), "StepLimit"), ("a\nb", b"1", "Malformed")],
    ids=["too large", "no name"],
)
def test_a_child_that_cannot_be_asked_for_fails_the_step_and_nothing_is_sent(
    name: str, payload: bytes, kind: str
) -> None:
    partition, run = parent(event_bytes=1_500)
    partition.ask(run, "go", invoke("child", name, payload=payload))
    (found,) = resolved(partition)
    assert isinstance(found.fault, Fault)
    assert found.fault.type == kind
    assert of_topic(partition.committed(), "events") == []


def test_children_that_are_given_too_much_in_all_are_not_started() -> None:
    partition, run = parent(run_bytes=3_000)
    partition.ask(run, "go", invoke("child", "child", payload=b'"%s"' % (b"x" * 1_500)))
    (found,) = resolved(partition)
    assert isinstance(found.fault, Fault)
    assert found.fault.message.startswith("the events of all children have 3")
    assert of_topic(partition.committed(), "events") == []


def test_a_run_of_a_child_goes_on_when_its_parent_ends() -> None:
    partition, run = parent()
    partition.ask(run, "go", invoke("child"))
    (child,) = partition.read(*produced(partition.committed()))
    partition.read(event(9, "headgate/cancel", key=run))
    partition.commit()
    partition.complete(child)
    assert summary(partition.committed()) == [(child, "completed", {"ok": True})]
    assert start_topic("child") == "headgate/start/child"
