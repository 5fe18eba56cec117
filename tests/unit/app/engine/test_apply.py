"""Homes and forwards, ids, many workflows per event, commands, time."""

from typing import Any

import pytest

from app.engine.inputs import CommandsRead, EventsRead
from app.engine.values import errors
from app.engine.values.outgoing import Record
from headgate.definition import Workflow
from tests.unit.app.engine.partition import (
    JOURNAL,
    NOW,
    Partition,
    canonical,
    commanded,
    dead,
    event,
    facts,
    flow,
    run_id,
)
from topics import commands, keys
from topics.envelope import Envelope

PARTITIONS = 4


def home(text: str) -> int:
    return keys.partition_of(text.encode(), PARTITIONS)


def command(*events: Envelope, source: int = 1, sequence: int = 1, **more: Any) -> commands.Command:
    given: dict[str, Any] = {"journal": "j1", "partitions": PARTITIONS, "batched": []} | more
    return commands.Command(source=source, sequence=sequence, events=events, **given)


# --- homes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "lives_at"),
    [
        ({"key": "k1"}, home("k1")),
        ({"key": "k1", "id": "e1"}, home("k1")),
        ({"id": "e1"}, home("e1")),
        ({}, None),
    ],
    ids=["key", "key before id", "explicit id", "neither: where it landed"],
)
@pytest.mark.parametrize("landed", range(PARTITIONS))
def test_an_event_is_processed_at_its_home_and_forwarded_from_everywhere_else(
    given: dict[str, Any], lives_at: int | None, landed: int
) -> None:
    partition = Partition(flow(), partition=landed, partitions=PARTITIONS)
    one = event(7, partition=landed, **given)

    runs = partition.read(one)

    if lives_at in (None, landed):
        assert runs == [run_id("charge", one)]
        assert commanded(partition.committed()) == []
    else:
        assert runs == []
        assert commanded(partition.committed()) == [
            (lives_at, commands.Command(landed, JOURNAL, 1, PARTITIONS, [one], []))
        ]
    assert partition.state.forwards == {}


def test_a_round_sends_one_command_to_each_destination_and_counts_each_of_them_on() -> None:
    partition = Partition(flow(), partition=0, partitions=PARTITIONS)
    names = [f"e{n}" for n in range(40)]
    events = [event(n, id=name) for n, name in enumerate(names)]
    for chunk in (events[:20], events[20:]):
        partition.read(*chunk)
        partition.complete(*partition.in_hand)
        partition.commit()

    sent = [commanded(one.outgoing) for one in partition.commits]

    for sequence, (chunk, found) in enumerate(zip((events[:20], events[20:]), sent, strict=True), start=1):
        assert found == [
            (
                to,
                commands.Command(0, JOURNAL, sequence, PARTITIONS, [one for one in chunk if home(one.id) == to], []),
            )
            for to in (1, 2, 3)
        ]
    assert partition.state.sent == {1: 2, 2: 2, 3: 2}
    assert partition.state.counters.forwarded == sum(home(name) != 0 for name in names)


def test_a_forwarded_event_starts_at_its_home_the_run_that_it_would_have_started_there() -> None:
    name = next(name for name in map(str, range(99)) if home(name) == 2)
    landed, there = event(5, id=name, partition=0), event(9, id=name, partition=2)
    partition = Partition(flow(), partition=2, partitions=PARTITIONS)

    assert partition.commanded(command(landed)) == [run_id("charge", there)]
    assert partition.read(there) == []  # the same event, produced again elsewhere
    assert partition.state.counters.duplicates == 1


# --- ids ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "is_the_same"),
    [
        ({"id": "a"}, True),
        ({"id": "b"}, False),
        ({"id": "a", "source": "shop"}, False),
        ({"id": "a", "key": "k"}, False),
        ({"id": "0-0"}, False),
        ({}, False),
    ],
)
def test_an_event_is_the_same_when_id_source_and_key_are(second: dict[str, Any], is_the_same: bool) -> None:
    partition = Partition(flow())

    assert len(partition.read(event(0, id="a"))) == 1
    assert len(partition.read(event(1, **second))) == (0 if is_the_same else 1)
    assert partition.state.counters.duplicates == int(is_the_same)


def test_an_id_that_headgate_made_is_none_that_a_producer_chose() -> None:
    partition = Partition(flow())

    assert len(partition.read(event(0), event(1, id="0-0"))) == 2
    assert partition.state.dedup.count == 1


def test_an_event_without_id_is_never_a_duplicate() -> None:
    partition = Partition(flow())

    assert len(partition.read(event(0, data=1), event(1, data=1))) == 2
    assert partition.state.dedup.count == 0


def forgets_soon(*workflows: Workflow) -> Partition:
    """A partition that has read the event "a" and forgotten its id since, while its run goes on."""
    partition = Partition(*workflows, dedup_ids=4)
    partition.read(event(0, id="a"))
    partition.commit()
    for n in range(1, 8):
        partition.read(event(n, "unheard", id=f"x{n}"))
        partition.commit()
    return partition


def test_an_event_that_comes_again_while_its_run_goes_on_starts_no_second_one_though_its_id_was_forgotten() -> None:
    partition = forgets_soon(flow())

    assert partition.read(event(8, id="a"), event(9, id="b")) == [run_id("charge", event(9, id="b"))]
    assert partition.state.counters.duplicates == 1
    partition.complete(*partition.in_hand)
    assert len(partition.committed().results) == 2
    assert {"body", "run", "pending"} & partition.kinds().keys() == set()


@pytest.mark.parametrize("order", ["none", "key"])
def test_what_shares_a_batch_with_such_an_event_is_not_dropped_with_it(order: str) -> None:
    partition = forgets_soon(flow(batch_size=3, order=order))

    runs = partition.read(event(8, id="a"), event(9, id="b"), event(10, id="c"))
    runs += partition.complete(run_id("charge", event(0, id="a")))

    if order == "none":
        assert runs == [run_id("charge", event(9, id="b"))]
        assert [one.id for one in partition.run(runs[0]).events] == ["b", "c"]
    else:  # its run has ended before the batch begins: the event starts a second one
        assert runs == [run_id("charge", event(8, id="a"))]
        assert [one.id for one in partition.run(runs[0]).events] == ["a", "b", "c"]
    partition.complete(*runs)
    partition.commit()
    assert {"body", "run", "pending"} & partition.kinds().keys() == set()


# --- many workflows -------------------------------------------------------------------------------------------------


def test_an_event_starts_a_run_of_each_workflow_that_it_triggers() -> None:
    flows = [
        flow("b", "orders/*"),
        flow("a", "orders/created"),
        flow("c", ["x", "orders/**"]),
        flow("d", "orders/paid"),
    ]
    partition = Partition(*flows)
    one = event(0)

    assert partition.read(one) == [run_id(name, one) for name in ("a", "b", "c")]
    assert partition.state.counters.started == 3


def test_an_event_that_triggers_nothing_is_counted_and_its_id_remembered() -> None:
    partition = Partition(flow())

    assert partition.read(event(0, "orders/paid", id="a"), event(1, "orders/paid", id="a")) == []
    assert (partition.state.counters.unmatched, partition.state.counters.duplicates) == (1, 1)
    assert not partition.committed()


@pytest.mark.parametrize("count", [3, 4])
def test_an_event_that_triggers_more_workflows_than_allowed_starts_none(count: int) -> None:
    partition = Partition(*(flow(f"w{n}") for n in range(count)), workflows_per_event=3)

    runs = partition.read(event(0, key="k"))

    partition.complete(*runs)
    outgoing = partition.committed()
    if count == 3:
        assert len(runs) == 3
        assert dead(outgoing) == []
    else:
        assert runs == []
        (letter,) = dead(outgoing)
        assert (letter["code"], letter["run_id"], letter["workflow_id"]) == ("too_many_workflows", None, None)
        assert letter["reason"] == "topic 'orders/created' triggers 4 workflows, more than 3"
        assert letter["source"]["topic"] == "headgate.events"
        assert (letter["key"], letter["value"]) == ("k", '{"topic":"orders/created","data":null}')
    assert partition.kinds().get("body", 0) == 0


def test_records_that_could_not_be_decoded_go_out_as_dead_letters_with_the_offset_behind_them() -> None:
    partition = Partition(flow())
    letter = Record("dlq", None, None, b"{}", ())

    partition.give(EventsRead([], [letter], 12))

    outgoing = partition.committed()
    assert (outgoing.results, outgoing.runs, outgoing.records) == ([], [], [letter])
    assert partition.entity(b"head")["events"] == 12
    assert partition.state.counters.malformed == 1


# --- commands -------------------------------------------------------------------------------------------------------


def local(n: int, *, at: int = 2) -> Envelope:
    return [event(i, id=name) for i, name in enumerate(map(str, range(200))) if home(name) == at][n]


def test_a_command_that_comes_again_is_dropped_whole() -> None:
    partition = Partition(flow(), partition=2, partitions=PARTITIONS)
    first, second = command(local(0)), command(local(1), sequence=2)

    assert len(partition.commanded(first, first, second)) == 2
    before = partition.state.counters.duplicates
    assert partition.commanded(first, second) == []
    assert partition.state.counters.duplicates == before == 0
    assert partition.state.received == {"1/j1": 2}


def test_sources_and_journals_are_counted_apart() -> None:
    partition = Partition(flow(), partition=2, partitions=PARTITIONS)

    partition.commanded(
        command(local(0)), command(local(1), source=3), command(local(2), journal="created anew"), command(sequence=2)
    )

    assert partition.state.received == {"1/j1": 2, "3/j1": 1, "1/created anew": 1}
    assert partition.state.counters.started == 3


@pytest.mark.parametrize(("seen", "sequence"), [(0, 2), (1, 3), (1, 9)])
def test_a_missing_command_is_an_error_that_counts_what_is_missing(seen: int, sequence: int) -> None:
    partition = Partition(flow(), partition=2, partitions=PARTITIONS)
    partition.commanded(*(command(local(n), sequence=n + 1) for n in range(seen)))

    with pytest.raises(errors.CommandGap) as caught:
        partition.commanded(command(local(5), sequence=sequence))

    assert (caught.value.source, caught.value.expected, caught.value.found) == (1, seen + 1, sequence)
    assert f"{sequence - seen - 1} are missing" in str(caught.value)


def test_a_command_from_a_system_with_another_partition_count_is_an_error() -> None:
    partition = Partition(flow(), partition=2, partitions=PARTITIONS)

    with pytest.raises(errors.WrongPartitionCount) as caught:
        partition.commanded(command(local(0), partitions=8))

    assert (caught.value.journal, caught.value.found) == (PARTITIONS, 8)


@pytest.mark.parametrize("wrong", [command(local(3), sequence=5), command(local(3), sequence=2, partitions=8)])
def test_a_command_that_is_refused_leaves_the_state_as_it_was(wrong: commands.Command) -> None:
    partition = Partition(flow(), partition=2, partitions=PARTITIONS)
    partition.commanded(command(local(0)))
    partition.commit()
    before = canonical(partition.state)

    with pytest.raises(errors.EngineError):
        partition.give(CommandsRead([command(local(1), sequence=2), wrong], [], 9))

    assert canonical(partition.state) == before
    assert partition.commit() is None


def test_what_is_no_command_goes_out_as_a_dead_letter_with_the_offset_behind_it() -> None:
    partition = Partition(flow())
    letter = Record("dlq", None, None, b"{}", ())

    partition.give(CommandsRead([], [letter], 3))

    assert partition.committed().records == [letter]
    assert partition.entity(b"head")["commands"] == 3
    assert partition.state.counters.malformed == 1


# --- time and facts -----------------------------------------------------------------------------------------------


def test_time_never_goes_back() -> None:
    partition = Partition(flow())
    partition.wait(10_000)
    partition.now -= 20_000
    (run,) = partition.read(event(0))

    assert partition.run(run).started_ms == NOW + 10_000


def test_a_run_that_outlives_its_round_is_told_once() -> None:
    partition = Partition(flow())
    (run,) = partition.read(event(0, key="k"))

    assert facts(partition.committed()) == [
        {
            "fact": "run_started",
            "run_id": run,
            "workflow_id": "charge",
            "at": "2026-01-31T12:00:00.000Z",
            "workflow_version": "1",
            "key": "k",
            "events": [{"id": "0-0", "topic": "orders/created", "partition": 0, "offset": 0}],
        }
    ]
    partition.publish(run)
    assert [one["fact"] for one in facts(partition.committed())] == ["step_finished"]
    partition.complete(run)
    assert facts(partition.committed()) == [
        {
            "fact": "run_finished",
            "run_id": run,
            "workflow_id": "charge",
            "at": "2026-01-31T12:00:00.000Z",
            "status": "completed",
            "attempts": 1,
            "key": "k",
            "error": None,
        }
    ]
