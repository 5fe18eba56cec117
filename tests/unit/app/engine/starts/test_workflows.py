"""Workflows that come and go: loaded, announced, changed, unheard of, retired; and what becomes of their events."""

from typing import Any

import pytest

from app.engine.values.known import Definition
from tests.unit.app.engine.partition import (
    JOURNAL,
    NOW,
    Partition,
    commanded,
    dead,
    event,
    flow,
    results,
    run_id,
    summary,
)
from tests.unit.app.engine.starts.charging import NEW, OLD, PARTITIONS, announced, home, letters
from topics import commands, journal

# --- loaded, and added later ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("earliest", "runs"), [(True, ["0-0", "0-1"]), (False, ["0-1"])])
def test_a_new_installation_begins_with_what_was_there_or_with_what_comes(earliest: bool, runs: list[str]) -> None:
    partition = Partition(flow(), start_from_earliest=earliest)
    old, new = event(0, at=NOW - 1), event(1, at=NOW)

    assert partition.read(old, new) == [run_id("charge", one) for one in (old, new) if one.id in runs]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("others", [1, 2])
def test_a_workflow_added_later_sees_events_from_then_on(restarted: bool, others: int) -> None:
    olds = [flow(f"old{n}") for n in range(others)]
    partition = Partition(*olds)
    partition.commit()
    partition.wait(5_000)
    if restarted:
        partition = partition.takeover(*olds, flow("young"))
    else:
        partition.load(*olds, flow("young"))
    before, after = event(0, at=NOW + 4_999), event(1, at=NOW + 5_000)

    runs = partition.read(before, after)

    assert runs == [run_id(one.id, before) for one in olds] + [run_id(one.id, after) for one in (*olds, flow("young"))]
    partition.commit()
    assert partition.takeover(*olds).state.known == {one.id: 0 for one in olds} | {"young": NOW + 5_000}


def test_a_workflow_that_was_gone_for_a_while_is_not_added_later() -> None:
    partition = Partition(flow())
    partition.commit()
    partition.load()
    partition.wait(5_000)
    partition.load(flow())

    assert partition.read(event(0, at=NOW)) == [run_id("charge", event(0))]


def test_events_of_a_workflow_that_others_run_sleep_until_it_is_loaded_here() -> None:
    partition = Partition(flow("here"), announced=[flow("there")])
    first, second = event(0), event(1)

    assert partition.read(first, second) == [run_id("here", first), run_id("here", second)]
    partition.complete(*partition.in_hand)
    outgoing = partition.committed()
    assert [one[0] for one in summary(outgoing)] == [run_id("here", first), run_id("here", second)]
    assert partition.kinds() == {"pending": 2, "body": 2, "out": 1, "known": 1, "head": 1}

    assert partition.load(flow("here"), flow("there")) == [run_id("there", first), run_id("there", second)]
    partition.complete(*partition.in_hand)
    assert [one[0] for one in summary(partition.committed())] == [run_id("there", first), run_id("there", second)]
    assert partition.kinds() == {"out": 2, "known": 1, "head": 1}
    assert partition.state.held_bytes == 0


def test_runs_and_waiting_events_sleep_through_a_takeover_by_an_owner_that_lacks_their_workflow() -> None:
    partition = Partition(flow())
    first, second = event(0, key="k"), event(1, key="k")
    partition.read(first, second)
    partition.commit()

    other = partition.takeover(flow("other", "refunds/created"), announced=[flow()])
    assert other.in_hand == {}
    assert other.state.running == 0
    assert other.read(event(2, key="k")) == []
    other.commit()
    third = other.takeover(flow())
    assert third.in_hand == {run_id("charge", first): 1}
    assert third.complete(run_id("charge", first)) == [run_id("charge", second)]
    assert third.complete(run_id("charge", second)) == [run_id("charge", event(2, key="k"))]
    assert third.complete(run_id("charge", event(2, key="k"))) == []
    third.commit()
    assert third.kinds() == {"out": 2, "known": 1, "head": 1}


def test_an_event_that_was_asleep_is_gathered_where_its_batch_is_once_its_workflow_is_loaded() -> None:
    batched = flow(batch_size=5)
    there = home("charge")
    partition = Partition(announced=[batched], partition=(there + 1) % PARTITIONS, partitions=PARTITIONS)
    one = event(0, partition=partition.state.partition)
    partition.read(one)
    partition.commit()

    for owner in (partition, partition.takeover(load=False)):
        owner.load(batched)

        assert commanded(owner.committed()) == [
            (
                there,
                commands.Command(owner.state.partition, JOURNAL, 1, PARTITIONS, [], [commands.Batched("charge", one)]),
            )
        ]
        assert owner.kinds() == {"known": 1, "out": 1, "head": 1}


def test_a_changed_definition_holds_for_what_waits() -> None:
    partition = Partition(flow(batch_size=3, batch_timeout_seconds=60, batch_by="key"))
    one, two = event(0, key="a"), event(1, key="b")
    assert partition.read(one, two) == []
    partition.commit()

    together = flow(batch_size=2, batch_timeout_seconds=60)
    assert partition.load(together) == [run_id("charge", one)]
    partition.complete(*partition.in_hand)
    assert [one["events"] for one in results(partition.committed())] == [
        [{"id": "0-0", "topic": "orders/created", "partition": 0, "offset": 0},
         {"id": "0-1", "topic": "orders/created", "partition": 0, "offset": 1}]
    ]  # fmt: skip
    assert partition.kinds() == {"known": 1, "out": 1, "head": 1}


def test_a_run_goes_on_under_the_definition_that_it_started_with_and_its_next_attempt_has_the_new_one() -> None:
    partition = Partition(flow(version="1"))
    going, failing = event(0, key="a"), event(1, key="b")
    first, second = partition.read(going, failing)
    partition.fail(second)
    partition.commit()

    partition.load(flow(version="2"))
    assert partition.wait(60_000) == [second]
    partition.complete(first, second)

    assert [(one["workflow_version"], one["attempts"]) for one in results(partition.committed())] == [
        ("1", 1),
        ("2", 2),
    ]


def test_a_filter_that_is_new_judges_what_waits() -> None:
    partition = Partition(flow(batch_size=9, batch_timeout_seconds=60))
    partition.read(event(0, data=1), event(1, data=2))
    partition.commit()

    assert partition.load(flow(batch_size=9, batch_timeout_seconds=60, filter=lambda one: one["data"] == 2)) == []
    assert partition.wait(60_000) == [run_id("charge", event(1, data=2))]
    assert partition.state.counters.filtered == 1
    partition.complete(*partition.in_hand)
    partition.commit()
    assert partition.kinds() == {"known": 1, "out": 1, "head": 1}


def test_what_waits_for_a_filtered_workflow_survives_any_number_of_takeovers() -> None:
    careful = flow(filter=lambda _event: True)
    partition = Partition(careful)
    one, two = event(0, key="k"), event(1, key="k")
    partition.read(one, two)
    partition.commit()

    for offset in range(2, 5):
        partition = partition.takeover(careful)
        assert partition.in_hand == {run_id("charge", one): 1}
        partition.read(event(offset, "unheard"))
        partition.commit()

    assert partition.complete(run_id("charge", one)) == [run_id("charge", two)]
    partition.complete(run_id("charge", two))
    partition.commit()
    assert partition.kinds() == {"known": 1, "out": 2, "head": 1}


# --- what was once known ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["loaded", "announced"])
@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 3}, {"filter": lambda one: one["data"] == 1}, {"order": "none"}, {"version": "7"}]
)
def test_an_owner_that_has_not_heard_of_a_workflow_keeps_its_events_as_the_owner_before_it_would(
    how: str, options: dict[str, Any]
) -> None:
    there = flow("there", "orders/*", **options)
    before = Partition(flow("here"), there) if how == "loaded" else Partition(flow("here"), announced=[there])
    before.commit()
    one = event(0, data=1)

    unaware = before.takeover(flow("here"))
    assert unaware.read(one, event(1, "refunds/created")) == [run_id("here", one)]
    unaware.complete(*unaware.in_hand)
    unaware.commit()
    assert unaware.state.counters.unmatched == 1

    for again in (unaware, unaware.takeover(load=False), unaware.takeover(flow("here"))):
        again.load(flow("here"), there)
        assert list(again.in_hand) == [run_id("there", one)]


def test_a_filter_decides_once_it_is_there() -> None:
    picky = flow(filter=lambda one: one["data"] > 1)
    before = Partition(picky)
    before.commit()
    unaware = before.takeover()
    unaware.read(*(event(n, data=n) for n in range(4)))
    unaware.commit()

    aware = unaware.takeover(picky)

    assert list(aware.in_hand) == [run_id("charge", event(n, data=n)) for n in (2, 3)]
    assert aware.state.counters.filtered == 2
    aware.complete(*aware.in_hand)
    aware.commit()
    assert aware.kinds() == {"known": 1, "out": 1, "head": 1}


def test_events_that_only_a_newer_form_takes_sleep_until_its_code_is_there() -> None:
    older, newer = flow(trigger=OLD), flow(trigger=[OLD, NEW], version="2")
    partition = Partition(older, announced=[announced(OLD, NEW, at=9, version="2")])
    old, new = event(0, OLD), event(1, NEW)

    assert partition.read(old, new) == [run_id("charge", old)]
    partition.complete(*partition.in_hand)
    partition.commit()

    again = partition.takeover(older)  # which has not heard of the newer one
    assert again.in_hand == {}
    assert again.read(event(2, NEW)) == []
    again.commit()
    last = again.takeover(newer)
    assert list(last.in_hand) == [run_id("charge", one) for one in (new, event(2, NEW))]


def test_an_announcement_that_is_older_than_what_is_known_changes_nothing() -> None:
    partition = Partition(announced=[announced(NEW, at=9)])
    partition.commit()

    again = partition.takeover(announced=[announced(OLD, at=8)])
    again.read(event(0, OLD), event(1, NEW))

    assert again.state.counters.unmatched == 1
    assert again.state.counters.slept == 1
    assert again.state.definitions == {"charge": announced(NEW, at=9)}


def test_a_newer_form_counts_from_when_it_is_heard_and_is_journaled() -> None:
    partition = Partition(announced=[announced(OLD, at=8)])
    partition.commit()
    partition.load(announced=[announced(NEW, at=9)])
    partition.commit()

    again = partition.takeover()
    again.read(event(0, OLD), event(1, NEW))

    assert (again.state.counters.unmatched, again.state.counters.slept) == (1, 1)


def test_the_same_form_announced_again_wakes_nobody() -> None:
    partition = Partition(flow(trigger=OLD), announced=[announced(NEW, at=8)])
    partition.read(event(0, NEW))
    partition.commit()
    partition.load(flow(trigger=OLD), announced=[announced(NEW, at=8)])
    partition.commit()
    partition.recalls = False
    same = partition.state.loaded["charge"]

    partition.load(same, announced=[announced(NEW, at=9, version="2")])

    assert partition.state.waking == {}
    assert partition.state.definitions["charge"].version == "2"


def test_a_function_is_never_given_an_event_of_a_topic_that_it_does_not_name() -> None:
    older = flow(trigger=OLD)
    partition = Partition(older, announced=[announced(NEW, at=8, version="2")])
    partition.read(event(0, NEW, key="k"))
    partition.commit()

    partition.load(older, announced=[announced(OLD, at=9)])  # it was rolled back

    assert partition.in_hand == {}
    assert letters(partition) == [("no_longer_triggered", "charge")]
    assert partition.kinds().get("body", 0) == partition.kinds().get("pending", 0) == 0


def test_what_waits_in_a_lane_is_judged_by_the_triggers_as_they_are_now() -> None:
    partition = Partition(flow(trigger=[OLD, NEW]))
    first, second, third = event(0, OLD, key="k"), event(1, OLD, key="k"), event(2, NEW, key="k")
    assert partition.read(first, second, third) == [run_id("charge", first)]
    partition.commit()

    partition.load(flow(trigger=NEW))
    assert letters(partition) == [("no_longer_triggered", "charge")]
    assert partition.complete(run_id("charge", first)) == [run_id("charge", third)]


def test_what_another_partition_matched_by_a_newer_form_sleeps_until_its_code_is_there() -> None:
    gathering = flow(trigger=OLD, batch_size=2)
    partition = Partition(
        gathering, announced=[announced(NEW, at=9, batch_size=2)], partition=home("charge"), partitions=PARTITIONS
    )
    one = event(3, NEW, partition=(home("charge") + 1) % PARTITIONS)

    assert partition.commanded(commands.Command(1, "j", 1, PARTITIONS, [], [commands.Batched("charge", one)])) == []
    partition.commit()

    assert partition.load(flow(trigger=NEW, batch_size=2)) == [run_id("charge", one)]


def test_what_another_partition_matched_by_a_form_that_is_gone_becomes_a_dead_letter() -> None:
    partition = Partition(flow(trigger=NEW, batch_size=2), partition=home("charge"), partitions=PARTITIONS)
    one = event(3, OLD, partition=(home("charge") + 1) % PARTITIONS)

    assert partition.commanded(commands.Command(1, "j", 1, PARTITIONS, [], [commands.Batched("charge", one)])) == []

    assert letters(partition) == [("no_longer_triggered", "charge")]


def gathered(sequence: int, number: int, topic: str, *, announced_ms: int = 0) -> commands.Command:
    """What another partition matched with what it knew of the workflow."""
    one = event(number, topic, partition=(home("charge") + 1) % PARTITIONS)
    return commands.Command(1, "j", sequence, PARTITIONS, [], [commands.Batched("charge", one, announced_ms)])


def gathering(at: int, older: Any, **options: Any) -> Partition:
    """The partition where batches of "charge" gather; it knows the form that was announced `at` and no newer one."""
    definition = Definition.of(older, announced_ms=at)
    return Partition(older, announced=[definition], partition=home("charge"), partitions=PARTITIONS, **options)


def test_what_a_partition_gathers_for_another_tells_when_the_newest_form_that_it_knows_was_announced() -> None:
    here = (home("charge") + 1) % PARTITIONS
    older = flow(trigger=OLD, batch_size=2)
    partition = Partition(older, announced=[announced(OLD, at=9)], partition=here, partitions=PARTITIONS)
    partition.read(event(0, OLD, partition=here))
    [(_, first)] = commanded(partition.committed())
    partition.load(older, announced=[announced(OLD, NEW, at=12, version="2")])
    partition.read(event(1, OLD, partition=here))
    [(_, second)] = commanded(partition.committed())
    assert [one.announced_ms for one in (*first.batched, *second.batched)] == [9, 12]


def gave_up(partition: Partition) -> list[tuple[str, str | None]]:
    """Close the round, if there is anything in it, and return all dead letters of this owner."""
    partition.commit()
    return [(one["code"], one["workflow_id"]) for made in partition.commits for one in dead(made.outgoing)]


@pytest.mark.parametrize("restarted", [False, True])
def test_what_was_matched_by_a_form_that_is_not_heard_of_here_yet_sleeps_until_it_is_and_its_code_is_there(
    restarted: bool,
) -> None:
    older, newer = flow(trigger=OLD, batch_size=2), flow(trigger=NEW, batch_size=2, version="2")
    partition = gathering(8, older)
    command = gathered(1, 3, NEW, announced_ms=9)
    assert partition.commanded(command) == []
    assert gave_up(partition) == []
    if restarted:
        partition = partition.takeover(older, announced=[announced(OLD, at=8, batch_size=2)])
    else:
        partition.load(flow(trigger=OLD, batch_size=2), announced=[announced(OLD, at=8, batch_size=2)])
    assert (gave_up(partition), partition.state.unheard, partition.in_hand) == ([], {"charge": 9}, {})

    partition.load(older, announced=[announced(NEW, at=9, batch_size=2, version="2")])
    assert (gave_up(partition), partition.state.unheard, partition.in_hand) == ([], {}, {})
    assert partition.entity(journal.KNOWN).keys() == {"r", "since", "workflows"}
    assert partition.load(newer) == [run_id("charge", command.batched[0].event)]


def test_what_was_not_heard_of_gives_up_what_it_does_not_take_once_it_is_heard() -> None:
    older = flow(trigger=OLD, batch_size=2)
    partition = gathering(8, older)
    partition.commanded(gathered(1, 3, NEW, announced_ms=9))
    assert gave_up(partition) == []

    partition.load(older, announced=[announced(OLD, at=10, batch_size=2)])  # rolled back before it was heard of here

    assert letters(partition) == [("no_longer_triggered", "charge")]
    assert partition.kinds().get("pending", 0) == 0
    partition.commanded(gathered(2, 4, NEW, announced_ms=9))
    assert letters(partition) == [("no_longer_triggered", "charge")]


@pytest.mark.parametrize("announced_ms", [0, 7, 8])
def test_what_was_matched_by_nothing_newer_than_what_is_known_here_is_given_up(announced_ms: int) -> None:
    partition = gathering(8, flow(trigger=OLD, batch_size=2))
    partition.commanded(gathered(1, 3, NEW, announced_ms=announced_ms))
    assert letters(partition) == [("no_longer_triggered", "charge")]
    assert partition.state.unheard == {}


def test_what_sleeps_for_a_form_that_was_never_heard_of_is_given_up_with_the_workflow() -> None:
    older = flow(trigger=OLD, batch_size=2)
    partition = gathering(8, older)
    partition.commanded(gathered(1, 3, NEW, announced_ms=9))
    partition.commit()

    partition.load(retired={"charge": 10})

    assert letters(partition) == [("workflow_retired", "charge")]
    assert partition.state.unheard == {}


def test_a_journal_without_what_was_not_heard_of_is_that_of_an_older_release() -> None:
    partition = gathering(8, flow(trigger=OLD, batch_size=2))
    partition.commit()
    assert "unheard" not in partition.entity(journal.KNOWN)
    partition.commanded(gathered(1, 3, NEW, announced_ms=9))
    partition.commit()
    assert partition.entity(journal.KNOWN)["unheard"] == {"charge": 9}


def test_a_workflow_that_is_unloaded_and_comes_back_goes_on_in_order() -> None:
    partition = Partition(flow())
    events = [event(n, key="k") for n in range(6)]
    (first,) = partition.read(*events[:2])
    partition.commit()
    partition.read(events[2])
    partition.load()
    partition.read(events[3])
    partition.commit()
    assert partition.state.lanes[("charge", "k")].active == 1
    assert len(partition.state.asleep["charge"]) == 3
    partition.read(events[4])
    partition.commit()

    partition.load(flow())
    partition.read(events[5])
    while partition.in_hand:
        partition.complete(*partition.in_hand)
        partition.commit()

    found = [one["events"][0]["offset"] for made in partition.commits for one in results(made.outgoing)]
    assert found == [0, 1, 2, 3, 4, 5]
    assert first == run_id("charge", events[0])
    assert partition.kinds().keys() & {"body", "run", "pending"} == set()
