"""Filters, order and batches: which events start a run together, and when."""

import asyncio
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, field_validator, model_validator

from headgate import Payload, Reject, Workflow, workflow
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
from topics import commands, keys
from topics.envelope import Envelope

PARTITIONS = 4


def key_at(partition: int, number: int = 0) -> str:
    """The `number`-th key that lives at `partition`."""
    names = (f"k{n}" for n in range(1000))
    return [name for name in names if keys.partition_of(name.encode(), PARTITIONS) == partition][number]


def batches(partition: Partition) -> list[list[int]]:
    """The offsets of the events of each run in hand, in the order in which they started."""
    return [[one.offset for one in partition.run(name).events] for name in partition.in_hand]


def nothing_left(partition: Partition) -> bool:
    kinds = partition.kinds()
    left = {"body", "run", "pending"} & kinds.keys()
    state = partition.state
    bytes_left = state.held_bytes + state.run_bytes + state.recalled_bytes
    left_over = (list(state.runs), state.lanes, state.asleep, state.waking, state.shared, state.runs.bodies)
    return (left, bytes_left, state.running, *left_over) == (set(), 0, 0, [], {}, {}, {}, {}, {})


# --- filters --------------------------------------------------------------------------------------------------------


def test_only_a_true_filter_lets_a_run_start() -> None:
    answers: dict[int, Any] = {0: True, 1: False, 2: "yes", 3: "", 4: None, 5: 1}
    partition = Partition(flow(filter=lambda one: answers[one.data]))
    events = [event(n, data=n) for n in answers]

    assert partition.read(*events) == [run_id("charge", events[n]) for n in (0, 2, 5)]
    assert partition.state.counters.filtered == 3
    partition.complete(*partition.in_hand)
    assert dead(partition.committed()) == []


def test_a_filter_that_raises_makes_a_dead_letter_for_its_workflow_alone() -> None:
    def total(one: Any) -> bool:
        return bool(one["data"]["total"] > 10)

    partition = Partition(flow("a", filter=total), flow("b"))
    one = event(0, data={}, key="k")

    assert partition.read(one) == [run_id("b", one)]
    partition.complete(*partition.in_hand)
    outgoing = partition.committed()
    (letter,) = dead(outgoing)
    assert (letter["code"], letter["workflow_id"], letter["run_id"]) == ("filter_failed", "a", None)
    assert letter["reason"] == "the filter of workflow 'a' raised KeyError: 'total'"
    assert letter["remedy"] == (
        "make the filter answer for every event of its topics, then produce the event again with a new id, which "
        "starts the event's other workflows again too"
    )
    assert [one["workflow_id"] for one in results(outgoing)] == ["b"]
    assert nothing_left(partition)


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [Silent(), ValueError("\ud800"), SystemExit(3), asyncio.CancelledError(), GeneratorExit()],
    ids=["no text", "text that is no Unicode", "sys.exit", "cancelled", "closed"],
)
def test_whatever_a_filter_raises_makes_a_dead_letter_as_well(error: BaseException) -> None:
    def broken(_one: Any) -> bool:
        raise error

    partition = Partition(flow(filter=broken))

    assert partition.read(event(0)) == []
    (letter,) = dead(partition.committed())
    assert letter["reason"].startswith(f"the filter of workflow 'charge' raised {type(error).__name__}: ")


def test_a_filter_never_sees_data_of_the_wrong_type_the_run_says_so_itself() -> None:
    class Order(BaseModel):
        total: int

    async def charge(ctx: Any, payload: Payload[Order]) -> None: ...

    charge.__annotations__["payload"] = Payload[Order]
    made = workflow("charge", "orders/created", filter=lambda one: one.data.total > 10)(charge)
    partition = Partition(made)
    right, small, wrong = event(0, data={"total": 11}), event(1, data={"total": 9}), event(2, data={"total": "x"})

    assert partition.read(right, small, wrong) == [run_id("charge", right), run_id("charge", wrong)]
    with pytest.raises(Reject, match="/data/total"):
        made.build_payload(partition.run(run_id("charge", wrong)).events)


class Numbered(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def known(cls, value: int) -> int:
        return {13: 0}[value] if value > 9 else value


def numbered(**options: Any) -> Workflow:
    async def charge(ctx: Any, payload: Payload[Numbered]) -> None: ...

    return workflow("charge", "orders/created", **options)(charge)


@pytest.mark.parametrize("batch_by", ["workflow", "key", "partition"])
@pytest.mark.parametrize("options", [{}, {"filter": lambda one: one.data.n > 0}])
def test_an_event_of_the_wrong_type_joins_no_batch_and_is_the_only_dead_letter(
    options: dict[str, Any], batch_by: str
) -> None:
    partition = Partition(numbered(batch_size=2, batch_timeout_seconds=60, batch_by=batch_by, **options))
    first, wrong, second = (event(n, data={"n": value}, key="k") for n, value in enumerate([1, "x", 2]))

    assert partition.read(first, wrong) == []
    assert partition.read(second) == [run_id("charge", first)]
    assert batches(partition) == [[0, 2]]
    partition.complete(*partition.in_hand)
    outgoing = partition.committed()
    assert [one["status"] for one in results(outgoing)] == ["completed"]
    (letter,) = dead(outgoing)
    assert (letter["code"], letter["workflow_id"], letter["run_id"]) == ("wrong_type", "charge", None)
    assert letter["source"]["offset"] == 1
    assert letter["reason"].startswith("event '0-1' on 'orders/created' is no Numbered: /data/n: Input should be")
    assert letter["remedy"] == (
        "correct the data, or the type that workflow 'charge' declares, then produce the event again with a new id, "
        "which starts the event's other workflows again too"
    )
    assert nothing_left(partition)


def test_a_type_that_raises_what_nobody_expects_costs_a_batch_that_one_event() -> None:
    partition = Partition(numbered(batch_size=2))

    assert partition.read(event(0, data={"n": 99}), event(1, data={"n": 1})) == [run_id("charge", event(1))]
    (letter,) = dead(partition.committed())
    assert (letter["code"], letter["reason"]) == ("wrong_type", "the type of its data raised KeyError: 99")


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError()], ids=["sys.exit", "cancelled"])
def test_a_type_that_raises_what_would_end_a_worker_costs_a_batch_that_one_event(error: BaseException) -> None:
    class Hostile(BaseModel):
        @model_validator(mode="before")
        @classmethod
        def refuse(cls, _given: Any) -> Any:
            raise error

    async def charge(ctx: Any, payload: Payload[Hostile]) -> None: ...

    partition = Partition(workflow("charge", "orders/created", batch_size=2)(charge))

    assert partition.read(event(0)) == []
    (letter,) = dead(partition.committed())
    assert letter["reason"].startswith(f"the type of its data raised {type(error).__name__}: ")


def test_a_type_that_raises_before_a_filter_is_left_to_the_run() -> None:
    partition = Partition(numbered(filter=lambda one: False))

    assert partition.read(event(0, data={"n": 99})) == [run_id("charge", event(0))]


def test_what_gathers_is_judged_by_the_type_that_the_workflow_has_after_a_reload() -> None:
    partition = Partition(flow(batch_size=3, batch_timeout_seconds=60))
    partition.read(event(0, data={"n": "x"}), event(1, data={"n": 1}))
    partition.commit()

    assert partition.load(numbered(batch_size=2, batch_timeout_seconds=60)) == []
    assert [one["source"]["offset"] for one in dead(partition.committed())] == [0]
    assert partition.read(event(2, data={"n": 2})) == [run_id("charge", event(1))]
    partition.complete(*partition.in_hand)
    partition.commit()
    assert nothing_left(partition)


# --- order ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "first", "after_it"),
    [("key", [[0], [1], [4]], [[1], [4], [2]]), ("strict", [[0], [1], [4]], [[1], [4], [2]]),
     ("none", [[0], [1], [2], [3], [4]], [[1], [2], [3], [4]])],
)  # fmt: skip
def test_events_of_a_key_wait_for_each_other_unless_order_is_none(
    order: str, first: list[list[int]], after_it: list[list[int]]
) -> None:
    partition = Partition(flow(order=order))
    partition.read(event(0, key="a"), event(1, key="b"), event(2, key="a"), event(3, key="a"), event(4))

    assert batches(partition) == first
    partition.complete(run_id("charge", event(0, key="a")))
    assert batches(partition) == after_it
    partition.commit()
    while partition.in_hand:
        partition.complete(*partition.in_hand)
    partition.commit()
    assert nothing_left(partition)


@pytest.mark.parametrize("end", ["complete", "fail", "reject", "deadline"])
def test_the_next_of_a_key_starts_however_the_one_before_it_ended(end: str) -> None:
    partition = Partition(flow(max_retries=0, timeout=10))
    one, two = event(0, key="a"), event(1, key="a")
    partition.read(one, two)
    partition.commit()

    from tests.unit.app.engine.partition import failure

    started = {
        "complete": lambda: partition.complete(run_id("charge", one)),
        "fail": lambda: partition.fail(run_id("charge", one)),
        "reject": lambda: partition.fail(run_id("charge", one), failure(rejected=True)),
        "deadline": lambda: partition.wait(10_000),
    }[end]()

    assert started == [run_id("charge", two)]
    partition.complete(*started)
    partition.commit()
    assert nothing_left(partition)


def test_the_next_of_a_key_does_not_overtake_one_that_will_be_tried_again() -> None:
    partition = Partition(flow())
    one, two = event(0, key="a"), event(1, key="a")
    partition.read(one, two)

    assert partition.fail(run_id("charge", one)) == []
    partition.commit()
    assert partition.wait(60_000) == [run_id("charge", one)]
    assert partition.complete(run_id("charge", one)) == [run_id("charge", two)]


def test_workflows_do_not_wait_for_each_other() -> None:
    partition = Partition(flow("a"), flow("b"))
    one, two = event(0, key="k"), event(1, key="k")

    assert partition.read(one, two) == [run_id("a", one), run_id("b", one)]
    assert partition.complete(run_id("b", one)) == [run_id("b", two)]


def test_what_waits_in_a_lane_starts_in_order_after_any_number_of_takeovers() -> None:
    partition = Partition(flow())
    for n in range(12):  # more than nine: numbers are not sorted as text
        partition.read(event(n, key="a"))
        partition.commit()

    order = []
    while partition.in_hand:
        partition = partition.takeover(flow())
        order += batches(partition)
        partition.complete(*partition.in_hand)
        partition.commit()

    assert order == [[n] for n in range(12)]
    assert nothing_left(partition)


# --- batches --------------------------------------------------------------------------------------------------------


def test_a_batch_without_a_timeout_takes_what_is_there() -> None:
    partition = Partition(flow(batch_size=3))

    partition.read(*(event(n) for n in range(2)))
    assert batches(partition) == [[0, 1]]
    partition.read(*(event(n) for n in range(2, 6)))
    assert batches(partition) == [[0, 1]]
    partition.complete(*partition.in_hand)
    assert batches(partition) == [[2, 3, 4]]
    partition.complete(*partition.in_hand)
    assert batches(partition) == [[5]]


def test_batches_with_order_none_do_not_wait_for_each_other() -> None:
    partition = Partition(flow(batch_size=3, order="none"))

    partition.read(*(event(n) for n in range(7)))

    assert batches(partition) == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_batch_with_a_timeout_starts_when_it_is_full() -> None:
    partition = Partition(flow(batch_size=3, batch_timeout_seconds=60))

    assert partition.read(event(0), event(1)) == []
    assert partition.read(event(2), event(3)) == [run_id("charge", event(0))]
    assert batches(partition) == [[0, 1, 2]]


def test_a_batch_that_is_not_full_starts_a_timeout_after_its_oldest_event_was_appended() -> None:
    partition = Partition(flow(batch_size=9, batch_timeout_seconds=1.5))

    assert partition.read(event(0, at=NOW - 1_000)) == []
    assert partition.wait(400) == []
    assert partition.read(event(1, at=NOW + 400)) == []
    assert partition.wait(99) == []
    assert partition.wait(1) == [run_id("charge", event(0))]
    assert batches(partition) == [[0, 1]]


def test_an_event_that_was_old_when_it_was_read_starts_its_batch_at_once() -> None:
    partition = Partition(flow(batch_size=9, batch_timeout_seconds=60))

    assert partition.read(event(0, at=NOW - 60_000), event(1)) == [run_id("charge", event(0))]
    assert batches(partition) == [[0, 1]]


def test_the_deadline_of_a_batch_is_that_of_its_own_oldest_event() -> None:
    partition = Partition(flow(batch_size=2, batch_timeout_seconds=10))
    partition.read(event(0), event(1), event(2, at=NOW + 1), after_ms=1)
    partition.complete(*partition.in_hand)

    assert partition.wait(9_999) == []
    assert partition.wait(1) == [run_id("charge", event(2))]


def test_a_half_full_batch_keeps_its_deadline_through_a_takeover() -> None:
    slow = flow(batch_size=9, batch_timeout_seconds=10)
    partition = Partition(slow)
    partition.read(event(0), event(1))
    partition.commit()
    assert partition.kinds() == {"pending": 2, "body": 2, "known": 1, "head": 1}

    partition.now += 9_999
    partition = partition.takeover(slow)
    assert partition.in_hand == {}
    assert partition.wait(1) == [run_id("charge", event(0))]
    assert batches(partition) == [[0, 1]]
    partition.complete(*partition.in_hand)
    partition.commit()
    assert nothing_left(partition)


def test_a_batch_is_repeated_with_the_same_events() -> None:
    partition = Partition(flow(batch_size=3))
    (run,) = partition.read(event(0), event(1))
    partition.commit()
    partition.fail(run)
    partition.read(event(2))
    partition.commit()

    assert partition.wait(60_000) == [run]
    assert batches(partition) == [[0, 1]]
    partition.commit()
    again = partition.takeover(flow(batch_size=3))
    assert batches(again) == [[0, 1]]


@pytest.mark.parametrize(
    ("batch_by", "expected"),
    [("workflow", [[0, 1, 2, 3]]), ("partition", [[0, 1, 2, 3]]), ("key", [[0, 3], [1], [2]])],
)
def test_events_gather_as_batch_by_says(batch_by: str, expected: list[list[int]]) -> None:
    partition = Partition(flow(batch_size=4, batch_timeout_seconds=1, batch_by=batch_by))
    partition.read(event(0, key="a"), event(1, key="b"), event(2), event(3, key="a"))

    partition.wait(1_000)

    assert batches(partition) == expected
    partition.commit()
    again = partition.takeover(flow(batch_size=4, batch_timeout_seconds=1, batch_by=batch_by))
    assert sorted(batches(again)) == expected
    again.complete(*again.in_hand)
    again.commit()
    assert nothing_left(again)


HOME = keys.partition_of(b"charge", PARTITIONS)


def test_a_batch_of_a_workflow_gathers_at_the_partition_of_its_id() -> None:
    gathering = flow(batch_size=3, batch_timeout_seconds=60)
    owners = [Partition(gathering, partition=n, partitions=PARTITIONS) for n in range(PARTITIONS)]
    sent: list[commands.Command] = []
    for n, owner in enumerate(owners):
        one = event(0, key=key_at(n), partition=n)
        owner.read(one)
        outgoing = owner.committed()
        if n == HOME:
            assert commanded(outgoing) == []
        else:
            assert commanded(outgoing) == [
                (HOME, commands.Command(n, JOURNAL, 1, PARTITIONS, [], [commands.Batched("charge", one)]))
            ]
            assert nothing_left(owner)
            sent += [command for _, command in commanded(outgoing)]

    assert len(owners[HOME].commanded(*sent)) == 1
    (run,) = owners[HOME].in_hand
    assert [one.partition for one in owners[HOME].run(run).events] == [HOME, *(n for n in range(4) if n != HOME)][:3]
    assert owners[HOME].commanded(*sent) == []  # each came once


@pytest.mark.parametrize("batch_by", ["key", "partition"])
def test_other_batches_stay_where_their_events_are(batch_by: str) -> None:
    partition = Partition(
        flow(batch_size=2, batch_by=batch_by), partition=(HOME + 1) % PARTITIONS, partitions=PARTITIONS
    )
    partition.read(event(0, key=key_at((HOME + 1) % PARTITIONS), partition=(HOME + 1) % PARTITIONS))

    assert len(partition.in_hand) == 1
    assert commanded(partition.committed()) == []


def test_a_filter_is_asked_before_an_event_travels_to_its_batch() -> None:
    away = (HOME + 1) % PARTITIONS
    picky = flow(batch_size=2, filter=lambda one: one["data"] == 1)
    partition = Partition(picky, partition=away, partitions=PARTITIONS)
    yes, no = (event(n, data=n, partition=away) for n in (1, 0))

    partition.read(no, yes)

    assert [found.batched for _, found in commanded(partition.committed())] == [[commands.Batched("charge", yes)]]


def test_what_gathers_for_a_workflow_that_is_not_loaded_there_sleeps() -> None:
    partition = Partition(flow("other", "x"), partition=HOME, partitions=PARTITIONS)
    one = event(3, partition=(HOME + 1) % PARTITIONS)

    command = commands.Command(1, "j", 1, PARTITIONS, [], [commands.Batched("charge", one)])
    assert partition.commanded(command) == []
    partition.commit()

    assert partition.takeover(flow(batch_size=2)).in_hand == {run_id("charge", one): 1}


def sized(offset: int, size: int, **more: Any) -> Envelope:
    """An event whose record has exactly `size` bytes."""
    made = event(offset, data="", **more)
    return event(offset, data="x" * (size - made.size), **more)


def test_a_batch_holds_no_more_bytes_than_allowed_but_always_one_event() -> None:
    partition = Partition(flow(batch_size=9, order="none"), batch_bytes=1_000)

    partition.read(sized(0, 500), sized(1, 500), sized(2, 501), sized(3, 500), sized(4, 2_000), sized(5, 100))

    assert batches(partition) == [[0, 1], [2], [3], [4], [5]]


def test_a_batch_is_full_when_its_bytes_are() -> None:
    partition = Partition(flow(batch_size=9, batch_timeout_seconds=3600), batch_bytes=1_000)

    assert partition.read(sized(0, 400), sized(1, 400)) == []
    assert partition.read(sized(2, 200)) == [run_id("charge", sized(0, 400))]
    assert batches(partition) == [[0, 1, 2]]
    partition.complete(*partition.in_hand)
    assert partition.read(sized(3, 999)) == []  # what was taken counts no more
    assert partition.read(event(4)) == [run_id("charge", sized(3, 999))]


def test_an_event_that_comes_and_goes_in_one_round_leaves_nothing_in_the_journal_but_its_result() -> None:
    partition = Partition(flow(batch_size=3), flow("single"))
    partition.read(event(0, key="a"), event(1, key="a"))
    while partition.in_hand:
        partition.complete(*partition.in_hand)

    outgoing = partition.committed()

    assert [one[1] for one in summary(outgoing)] == ["completed"] * 3
    assert partition.kinds() == {"out": 1, "known": 1, "head": 1}
    assert nothing_left(partition)


def test_what_waits_for_a_workflow_that_was_retired_becomes_a_dead_letter() -> None:
    gone = flow("gone")
    one = Partition(flow("other", "elsewhere"), announced=[gone])
    one.read(event(0, id="x"))
    one.committed()
    one.load(flow("other", "elsewhere"), retired={"gone": 0})
    letters = [record for record in one.committed().records if record.topic == "dlq"]
    assert [orjson.loads(record.value or b"")["code"] for record in letters] == ["workflow_retired"]
    assert not [key for key in one.journal if key.startswith((b"pending:", b"body:"))]


def test_a_workflow_that_is_loaded_here_is_not_retired_by_others() -> None:
    one = Partition(flow("gone"), announced=[])
    one.load(flow("gone"), retired={"gone": 0})
    assert one.read(event(0, id="x")) == [run_id("gone", event(0, id="x"))]
