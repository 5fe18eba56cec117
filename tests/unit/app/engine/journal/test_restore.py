"""The journal alone defines a partition: any sequence of inputs, any prefix of commits, any order of entities."""

import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from app.engine.inputs import CommandsRead, Delivered, Ended, EventsRead, Input, StepAsked, WorkflowsLoaded
from app.engine.journal import commit as commit_module
from app.engine.journal.restore import restore
from app.engine.tables import timers as timers_module
from app.engine.tables.state import State, empty
from app.engine.values import errors
from app.engine.values.asks import Note
from app.engine.values.known import Definition
from app.engine.values.outgoing import Outgoing, Record
from headgate.definition import Workflow
from tests.unit.app.engine.partition import (
    JOURNAL,
    NOW,
    Partition,
    canonical,
    event,
    failure,
    flow,
    merge,
    run_id,
    started,
)
from topics import commands, journal, keys

PARTITIONS = 2

# --- what comes back ------------------------------------------------------------------------------------------------


def test_an_empty_journal_is_an_empty_state() -> None:
    limits = Partition().limits
    found = restore({journal.CLAIM: b"{}"}, 3, limits, journal_id=JOURNAL)

    assert canonical(found.state) == canonical(empty(3, limits, journal_id=JOURNAL))
    assert (found.state.partition, found.state.journal_id, found.deliver_again) == (3, JOURNAL, [])


def busy() -> Partition:
    """A partition with something of everything."""
    partition = Partition(
        flow("a", timeout=600),
        flow("b", batch_size=5, batch_timeout_seconds=60, batch_by="partition"),
        announced=[flow("elsewhere")],
        partitions=PARTITIONS,
        reply_allowed=lambda _one: True,
    )
    names = [f"k{n}" for n in range(99)]
    here = [one for one in names if keys.partition_of(one.encode(), PARTITIONS) == 0]
    away = [one for one in names if keys.partition_of(one.encode(), PARTITIONS) == 1]
    for n in range(6):
        partition.read(
            event(3 * n, key=here[n % 2], id=f"e{n}", reply_topic="r", correlation_id=f"c{n}"),
            event(3 * n + 1, key=away[n]),
            event(3 * n + 2, data='\u20ac\n"', traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        )
        first = next(iter(partition.in_hand))
        partition.publish(first)
        if n % 2:
            partition.fail(first)
        else:
            partition.complete(first, result='{"a":"€]}","b":[1,2]}'.encode())
        partition.commit()
    return partition


def test_everything_that_a_partition_knew_comes_back() -> None:
    partition = busy()
    before = canonical(partition.state)
    sent = [one.outgoing for one in partition.commits if one.outgoing]

    again = partition.takeover(*partition.state.loaded.values())

    assert canonical(again.state) == before
    assert again.again == sent
    assert before["runs"]
    assert before["lanes"]
    assert before["asleep"]
    assert before["sent"]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_in_which_compaction_left_the_entities_means_nothing(seed: int) -> None:
    partition = busy()
    entities = list(partition.journal.items())
    random.Random(seed).shuffle(entities)
    workflows = partition.state.loaded.values()

    shuffled = partition.takeover(*workflows, journal_=dict(entities))

    assert canonical(shuffled.state) == canonical(partition.takeover(*workflows).state)
    assert shuffled.again == partition.takeover(*workflows).again
    assert list(shuffled.in_hand) == list(partition.takeover(*workflows).in_hand)


def test_only_what_was_not_delivered_is_delivered_again() -> None:
    partition = Partition(flow())
    for n in range(4):
        partition.complete(*partition.read(event(n)))
        partition.commit()
        if n == 1:
            partition.deliver(1, results_end=1, runs_end=0)

    assert [one.round for one in partition.takeover(flow()).again] == [2, 3, 4]
    assert partition.takeover(flow()).state.results_end == 1


def test_results_are_delivered_again_byte_for_byte() -> None:
    partition = Partition(flow())
    odd = [b'{"a":  1.0}', b'"],[\\"results\\":["', b"[]", '"€\\u20ac"'.encode(), b"null", b"1e5"]
    for n, result in enumerate(odd):
        (run,) = partition.read(event(n, traceparent=f"00-0af7651916cd43dd8448eb211c8031{n:02}-b7ad6b7169203331-01"))
        partition.complete(run, result=result)
    sent = partition.committed()

    assert partition.takeover(flow()).again == [sent]
    assert len(sent.results) == len(odd)


def test_a_record_with_bytes_that_are_no_text_is_delivered_again_as_it_was() -> None:
    partition = Partition(flow())
    record = Record("dlq", None, b"\xff", b"\x00\xfe", (("n", None), ("m", b"\x80")), foreign=True)
    partition.give(EventsRead([], [record], 1))
    partition.commit()

    assert partition.takeover().again == [Outgoing(1, [], [], [record])]


def test_bodies_that_nothing_needs_are_removed() -> None:
    partition = Partition(flow())
    partition.read(event(0))
    partition.commit()
    stray = journal.encode(commands.raw_event(event(9)) | {"r": 1})

    again = partition.takeover(flow(), journal_=partition.journal | {journal.body_key(7): stray})

    assert again.state.removed == [journal.body_key(7)]


# --- what is refused ------------------------------------------------------------------------------------------------


def head(**changed: Any) -> Callable[[dict[bytes, bytes]], None]:
    def change(entities: dict[bytes, bytes]) -> None:
        entities[b"head"] = journal.encode(orjson.loads(entities[b"head"]) | changed)

    return change


def put(prefix: bytes, value: bytes) -> Callable[[dict[bytes, bytes]], None]:
    def change(entities: dict[bytes, bytes]) -> None:
        entities[next(key for key in entities if key.startswith(prefix))] = value

    return change


def drop(prefix: bytes) -> Callable[[dict[bytes, bytes]], None]:
    def change(entities: dict[bytes, bytes]) -> None:
        del entities[next(key for key in entities if key.startswith(prefix))]

    return change


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (head(v=journal.FORMAT + 1), "head"),
        (head(v="two"), "head"),
        (head(received=[1]), "head"),
        (put(b"head", b"{"), "head"),
        (put(b"head", b"[]"), "head"),
        (put(b"head", b"{}"), "head"),
        (put(b"run:", b"\xff"), "run:"),
        (put(b"run:", b"{}"), "run:"),
        (put(b"run:", b'{"r":1,"bodies":["x"]}'), "run:"),
        (put(b"body:", b'{"r":1}'), "body:"),
        (put(b"body:", b'{"r":1,"p":0,"o":0,"t":0,"key":null,"value":"{}","headers":[]}'), "body:"),
        (drop(b"body:"), ":"),
        (put(b"pending:", b'"text"'), "pending:"),
        (put(b"pending:", b'{"r":"x"}'), "pending:"),
        (put(b"out:", b'{"r":99,"part":0}'), None),
        (put(b"out:", b'{"r":1,"part":0}'), "out:"),
        (put(b"out:", b'{"r":1,"part":0,"runs":[],"records":[],"parents":{},"lengths":[9],"results":[{}]}'), "out:"),
        (put(b"ids:", b'{"r":1}'), "ids:"),
        (put(b"ids:", b'{"r":1,"g":0,"d":"?"}'), "ids:"),
        (put(b"known", b'{"r":1}'), "known"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(
    change: Callable[[dict[bytes, bytes]], None], names: str | None
) -> None:
    partition = Partition(flow(), reply_allowed=lambda _one: True)
    partition.read(event(0, id="a", key="k"), event(1, id="b", key="k"))
    partition.commit()
    partition.complete(*partition.in_hand)
    partition.read(event(2, id="c", key="k"))
    partition.commit()
    entities = dict(partition.journal)
    change(entities)
    if names is None:
        partition.takeover(flow(), journal_=entities)
        return

    with pytest.raises(journal.UnreadableJournal) as caught:
        partition.takeover(flow(), journal_=entities)

    assert names in caught.value.key
    assert f"this release reads format {journal.FORMAT}. Where a newer release wrote it, start one" in str(caught.value)


def test_another_partition_count_is_refused() -> None:
    partition = Partition(flow())
    partition.commit()
    head(partitions=8)(partition.journal)

    with pytest.raises(errors.WrongPartitionCount):
        partition.takeover(flow())


# --- any sequence of inputs -----------------------------------------------------------------------------------------

BEFORE: tuple[Workflow, ...] = (
    flow("keyed", "orders/*", timeout=30),
    flow("picky", "orders/created", filter=lambda one: one["data"] % 3 != 0, order="none", max_retries=1),
    flow("gathered", "orders/*", batch_size=3, batch_timeout_seconds=5),
    flow("by-key", "**", batch_size=2, batch_by="key", order="none"),
)
AFTER: tuple[Workflow, ...] = (
    flow("keyed", "orders/*", version="2"),
    flow(
        "picky", "**", batch_size=4, batch_by="partition", batch_timeout_seconds=2, filter=lambda one: one["data"] > 2
    ),
    flow("by-key", "orders/paid", order="strict"),
    flow("added", "orders/created"),
)
LOADS = ((BEFORE, ()), (AFTER, ()), (BEFORE[:1], BEFORE[1:]), ((), AFTER))
TOPICS = st.sampled_from(["orders/created", "orders/paid", "stock"])


class Twin:
    """The same inputs for two states: one that lived through everything, one that came back from its journal."""

    def __init__(self) -> None:
        self.loaded: tuple[tuple[Workflow, ...], tuple[Workflow, ...]] = (BEFORE, ())
        self.live = Partition(*BEFORE, partition=0, partitions=PARTITIONS, reply_allowed=lambda one: one == "answers")
        self.twin: Partition | None = None

    def give(self, *given: Input, after_ms: int = 0) -> None:
        effects = self.live.give(*given, after_ms=after_ms)
        if self.twin is not None:
            other = self.twin.give(*given, after_ms=after_ms)
            assert sorted(started(other)) == sorted(started(effects))
            assert sorted(one.id for one in other.cancels) == sorted(one.id for one in effects.cancels)

    def both(self) -> list[Partition]:
        return [self.live] if self.twin is None else [self.live, self.twin]


class Journaled(RuleBasedStateMachine):
    """Whatever happens, the journal holds it: after each commit, and after each part of a commit that never came."""

    def __init__(self) -> None:
        super().__init__()
        self.patched = pytest.MonkeyPatch()
        self.offset = 0
        self.commands = {1: 0}
        self.published: set[tuple[str, str]] = set()
        self.pair = Twin()

    @initialize(batch=st.sampled_from([1, 4_000_000]), part=st.sampled_from([600, 700_000]), tail=st.integers(1, 9))
    def sizes(self, batch: int, part: int, tail: int) -> None:
        self.patched.setattr(commit_module, "BATCH_BYTES", batch)
        self.patched.setattr(commit_module, "PART_BYTES", part)
        self.patched.setattr(commit_module, "_TAIL_SLOTS", tail)

    def teardown(self) -> None:
        self.patched.undo()

    @rule(
        given=st.lists(
            st.tuples(
                TOPICS,
                st.integers(0, 9),
                st.sampled_from([None, None, "a", "b", "c"]),
                st.sampled_from([None, None, "1", "2", "3", "4"]),
                st.sampled_from([None, None, None, "answers", "forbidden"]),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def events(self, given: list[tuple[str, int, str | None, str | None, str | None]]) -> None:
        envelopes = []
        for topic, data, key, event_id, reply in given:
            envelopes.append(
                event(self.offset, topic, data, id=event_id, key=key, at=self.pair.live.now, reply_topic=reply)
            )
            self.offset += 1
        self.pair.give(EventsRead(envelopes, [], self.offset))

    @rule(again=st.booleans(), data=st.integers(0, 9), gathered=st.booleans())
    def command(self, again: bool, data: int, gathered: bool) -> None:
        self.commands[1] += 0 if again and self.commands[1] else 1
        sequence = self.commands[1]
        one = event(sequence, "orders/created", data, partition=1, at=self.pair.live.now)
        batched = [commands.Batched("gathered", one), commands.Batched("unheard", one)] if gathered else []
        events = [] if gathered else [event(sequence, data=data, id=f"f{sequence}", partition=1, at=NOW)]
        command = commands.Command(1, "other", sequence, PARTITIONS, events, batched)
        self.pair.give(CommandsRead([command], [], sum(self.commands.values())))

    def pick(self, number: int) -> tuple[str, int]:
        live = self.pair.live
        run = sorted(live.in_hand)[number % len(live.in_hand)]
        return run, live.in_hand[run]

    @precondition(lambda self: self.pair.live.in_hand)
    @rule(number=st.integers(0, 99), how=st.sampled_from(["complete", "complete", "fail", "later", "reject"]))
    def end(self, number: int, how: str) -> None:
        run, attempt = self.pick(number)
        for one in self.pair.both():
            assert one.in_hand.pop(run) == attempt
        why = {"fail": failure(), "later": failure(retry_after_ms=3_000), "reject": failure(rejected=True)}.get(how)
        self.pair.give(Ended(run, attempt, b"[1]" if why is None else None, why))

    @precondition(lambda self: self.pair.live.in_hand)
    @rule(number=st.integers(0, 99), step=st.sampled_from("xy"))
    def publish(self, number: int, step: str) -> None:
        run, attempt = self.pick(number)
        record = Record("events", 1, None, b"{}", (("n", b"\xff"),))
        if (run, step) in self.published:
            return
        self.published.add((run, step))
        self.pair.give(StepAsked(run, attempt, step, "publish", Note(b'"id"', (record,), quiet=True)))

    @rule(ms=st.sampled_from([1, 400, 2_500, 12_000]))
    def time(self, ms: int) -> None:
        self.pair.give(after_ms=ms)

    @rule(which=st.integers(0, 3))
    def load(self, which: int) -> None:
        """Load other definitions; attempts in hand would go on with theirs here, and not after a takeover."""
        loaded, announced = LOADS[which]
        if {run.workflow.id for run in self.pair.live.state.runs.values()} - {one.id for one in loaded}:
            return
        while self.pair.live.in_hand:
            self.end(0, "complete")
        self.pair.loaded = loaded, announced
        self.pair.give(WorkflowsLoaded(loaded, [Definition.of(one) for one in announced]))

    @precondition(lambda self: self.pair.live.state.undelivered)
    @rule(number=st.integers(0, 9))
    def deliver(self, number: int) -> None:
        rounds = [one.round for one in self.pair.live.state.undelivered]
        self.pair.give(Delivered(rounds[number % len(rounds)], number, number))

    @rule(crash=st.sampled_from(["no", "no", "before", "ahead", "after"]), twin=st.booleans())
    def commit(self, crash: str, twin: bool) -> None:
        live = self.pair.live
        self.pair.give()  # deadlines of this very moment: a takeover would find them due
        while live.state.falling.keys() & live.state.waking.keys():  # it has to be journaled before it can wake
            for one in self.pair.both():
                one.commit()
            self.pair.give()
        delivered = live.state.delivered
        before = dict(live.journal)
        made = live.commit()
        if self.pair.twin is not None:
            other = self.pair.twin.commit()
            assert (made is None) == (other is None)
            if made is not None and other is not None:
                assert shown(other.outgoing) == shown(made.outgoing)
        if made is None:
            return
        if live.state.rising:  # what a step came to had to be journaled before it could be read
            self.pair.give()
            for one in self.pair.both():
                one.cool()
        again = self.takeover(live.journal)
        assert canonical(again.state) == canonical(live.state)
        assert [one.round for one in again.again] == [one.round for one in live.state.undelivered]
        assert again.again == [
            one.outgoing for one in live.commits if one.round > live.state.delivered and one.outgoing
        ]
        if made.ahead:
            part = dict(before)
            merge(part, made.ahead)
            torn, whole = self.takeover(part), self.takeover(before)
            rounds = [one.round for one in torn.again if one.round > delivered]
            assert rounds == [one.round for one in whole.again if one.round > delivered]
            assert same_but_orphans(torn.state) == same_but_orphans(whole.state)
        self.go_on_as(crash, before, made, twin=twin)

    def go_on_as(self, crash: str, before: dict[bytes, bytes], made: Any, *, twin: bool) -> None:
        commits = self.pair.live.commits
        if crash == "after" or (crash != "no" and twin):
            self.pair.live = self.takeover(self.pair.live.journal)
            self.pair.live.commits = commits
            self.pair.twin = None
        elif twin:
            self.pair.twin = self.takeover(self.pair.live.journal)

    def takeover(self, entities: dict[bytes, bytes]) -> Partition:
        other = self.pair.live.takeover(*self.pair.loaded[0], announced=self.pair.loaded[1], journal_=entities)
        other.now = self.pair.live.now
        other.give()
        return other

    @invariant()
    def runs_in_hand_are_those_that_run(self) -> None:
        for one in self.pair.both():
            running = {run.id: run.attempt for run in one.state.runs.values() if run.status.name == "RUNNING"}
            assert one.in_hand == running
            assert one.state.running == len(running)
            due = timers_module.next_due_ms(one.state)
            assert due is None or due > 0

    @invariant()
    def both_are_alike(self) -> None:
        if self.pair.twin is not None:
            assert same_but_slots(self.pair.twin.state) == same_but_slots(self.pair.live.state)


def same_but_slots(state: State) -> dict[str, Any]:
    """Which free slot is filled next is chance: after a takeover it may be another one."""
    rounds = [one.round for one in state.undelivered]
    return {name: value for name, value in canonical(state).items() if name != "slots"} | {"undelivered": rounds}


def same_but_orphans(state: State) -> dict[str, Any]:
    found = canonical(state)
    # Slots of rounds that were delivered may be written over before a commit says that they were; the number of a body
    # that was written ahead is not given again.
    passing = ("left over", "slots", "undelivered", "outputs", "bodies")
    return {name: value for name, value in found.items() if name not in passing}


def shown(outgoing: Outgoing) -> Any:
    """What goes out, in the order that its receivers see of one run or destination."""
    return (
        sorted(one[1] for one in outgoing.results),
        sorted(one.value or b"" for one in outgoing.runs),
        sorted(outgoing.records, key=repr),
    )


TestJournaled = Journaled.TestCase
TestJournaled.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def test_a_run_is_gone_when_it_is_over_however_it_came_back() -> None:
    partition = busy()
    workflows = partition.state.loaded.values()
    for _ in range(400):
        partition = partition.takeover(*workflows, flow("elsewhere"))
        if not partition.state.runs and not partition.state.lanes:
            break
        partition.wait(60_000)
        partition.complete(*partition.in_hand)
        partition.commit()

    assert {"body", "run", "pending"} & partition.kinds().keys() == set()
    assert partition.state.held_bytes == 0
    assert run_id("a", event(0)) not in partition.state.runs
