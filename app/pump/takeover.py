"""Taking over a partition: read, fence, close the outputs, claim, read on, deliver again (design 3.1).

After `take_over` returns, the broker refuses every older owner on `journal`, `results` and `runs`, and the state is
whole: all that older owners ever committed, and nothing that they did not.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from app.engine.journal.restore import Restored, restore
from app.engine.runs import atrest
from app.engine.tables.dedup import DedupPolicy
from app.engine.tables.state import State, policy_of
from app.engine.values.limits import Limits
from app.engine.values.outgoing import Outgoing
from app.kafka.log import Entry, Fenced, LogError, PartitionLog, Producer
from app.observe import logs
from app.pump.reader import Diverged, Reader, is_kill
from app.pump.recall import Recall
from app.pump.snapshots import MOST_AGE_MS, Snapshots
from topics import journal
from topics.timestamps import rfc3339

log = logs.get(__name__)

AT_ONCE_BYTES: Final = 4 * 1024 * 1024
"""What was read and weighs less is restored in some 50 ms, so nobody need wait for a thread."""


class ClockSkew(Exception):
    """This machine's clock and the broker's differ too much for deadlines to mean anything."""

    def __init__(self, skew_ms: int, most_ms: int) -> None:
        super().__init__(
            f"this machine's clock is {skew_ms / 1000:+.1f} s off the broker's, more than {most_ms / 1000:g} s: "
            "set it by NTP, then start again"
        )
        self.skew_ms = skew_ms


class GivenAway(LogError):
    """The partition went to another worker while its journal was read: a claim would shut that one out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who claims: shown in the claim record, and compared to name a second process with one's own instance id."""

    worker: str
    """Unique per process."""
    instance_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A partition that is owned now."""

    state: State
    next_journal_offset: int
    deliver_again: Sequence[Outgoing]
    term: int
    """Offset of the claim record."""
    claim: Mapping[str, Any]
    """The claim record itself."""
    recall: Recall
    """Reads back what sleeps."""
    from_standby: bool = False
    """Whether the journal had been read ahead."""


async def take_over(
    partition_log: PartitionLog,
    owner: Owner,
    limits: Limits,
    *,
    now_ms: Callable[[], int],
    warn_ms: int = 1_000,
    stop_ms: int = 60_000,
    snapshots: Snapshots | None = None,
    at_hand_bytes: int | None = None,
    standby: Reader | None = None,
    restoring: asyncio.Lock | None = None,
    still: Callable[[], bool] = lambda: True,
) -> Taken:
    """Become the owner of `partition_log.partition`. Raises LogError, ClockSkew, and what `restore` raises; GivenAway
    when the partition is not `still` ours, once its journal was read.

    Of the bodies in the journal `at_hand_bytes` are kept, None for all. `standby` has read ahead; it is used up. Who
    takes several partitions over at a time gives all the same lock: they are restored one after the other.
    """
    topic_ids = await partition_log.topic_ids()
    journal_id = topic_ids.get("journal", "")
    reader = None if standby is None else await _gone_on(standby, partition_log, journal_id, now_ms())
    from_standby = reader is not None
    if reader is None:
        policy = policy_of(limits)
        reader = await begin(
            partition_log,
            journal_id=journal_id,
            policy=policy,
            now_ms=now_ms(),
            snapshots=snapshots,
            at_hand_bytes=at_hand_bytes,
        )
        await reader.read_on()
    before = reader.claim
    shut_out = set() if before is None else {before["producer_id"]}
    while True:
        if not still():
            raise GivenAway(f"journal-{partition_log.partition}: it went to another worker before it could be claimed")
        producer = await _fence(partition_log, shut_out)
        claimed_ms = now_ms()
        term = await _claim(partition_log, owner, producer, limits, topic_ids, claimed_ms)
        reader.claimants.clear()
        await reader.read_on()
        if reader.claim_offset < term:
            raise Fenced(
                f"journal-{partition_log.partition}: the claim at offset {term} is gone already: a newer owner has the "
                "partition"
            )
        others = reader.claimants - shut_out - {producer.producer_id}
        if not others:
            break
        shut_out |= others  # somebody claimed meanwhile, and may hold an id that the broker has forgotten
    _check_clock(reader.claim_ms - claimed_ms, now_ms() - claimed_ms, warn_ms, stop_ms)
    _name_twin(before, owner, partition_log.partition)
    make = partial(
        restore, reader.entities, partition_log.partition, limits, journal_id=journal_id, remembered=reader.remembered
    )
    if reader.weight < AT_ONCE_BYTES:
        restored = make()
    else:
        async with restoring or asyncio.Lock():
            # A million ids take a second, and 100,000 runs that wait five: meanwhile this process stays in its group,
            # its other partitions go on, and it answers who asks whether it lives.
            restored = await asyncio.to_thread(_packed, make)
    state = restored.state
    _name_unknown(state)
    await _find_inputs(partition_log, state, before, topic_ids)
    again = await _without_delivered(partition_log, state, restored.deliver_again)
    return Taken(
        state=state,
        next_journal_offset=reader.next_offset,
        deliver_again=again,
        term=term,
        claim=reader.claim or {},
        recall=Recall(
            partition_log,
            at_hand=reader.entities.at_hand,
            places=reader.entities.places,
            start=reader.first_unkept,
        ),
        from_standby=from_standby,
    )


def _packed(make: Callable[[], Restored]) -> Restored:
    """Return what `make` does, with what rests packed: the first round would do that at once."""
    restored = make()
    atrest.pack(restored.state)
    return restored


async def begin(
    partition_log: PartitionLog,
    *,
    journal_id: str,
    policy: DedupPolicy,
    now_ms: int,
    snapshots: Snapshots | None,
    at_hand_bytes: int | None,
) -> Reader:
    """Return a reader that begins with the snapshot, if there is one that counts."""
    reader = Reader(partition_log, journal_id=journal_id, policy=policy, fresh_ms=now_ms, at_hand_bytes=at_hand_bytes)
    if snapshots is not None:
        snapshot = await snapshots.read(
            partition_log.partition, policy=policy, journal_id=journal_id, now_ms=now_ms, most_bytes=at_hand_bytes
        )
        if snapshot is not None:
            await reader.begin_with(snapshot)
    return reader


async def _gone_on(standby: Reader, partition_log: PartitionLog, journal_id: str, now_ms: int) -> Reader | None:
    """Read on where a standby is; None if it does not count: then the journal is read as if there were none."""
    if standby.journal_id != journal_id or now_ms - standby.fresh_ms > MOST_AGE_MS:
        log.info("standby_void", partition=partition_log.partition)
        return None
    standby.log = partition_log
    try:
        await standby.read_on(sure=True)
    except Diverged as error:
        log.info("standby_void", partition=partition_log.partition, reason=str(error))
        return None
    return standby


async def _fence(partition_log: PartitionLog, older: set[int]) -> Producer:
    """Have the broker refuse every older owner, also those of the producer ids `older`; return what to claim with.

    The outputs are closed under the epoch of the first of two requests, so nobody may have come between them: an owner
    with the epoch between could go on writing there. Nor may the id have changed, which the broker forgets (7 days
    without a claim), or whose epochs have run out. Else they are closed anew; whoever holds another id is shut out by a
    record of its own.
    """
    while True:
        first = await partition_log.fence()
        producer = await partition_log.close_outputs()
        older.add(first.producer_id)
        if producer == (first.producer_id, first.epoch + 1):
            break
    for stranger in sorted(older - {producer.producer_id}):
        log.warning("producer_id_replaced", partition=partition_log.partition, old=stranger)
        await partition_log.shut_out(stranger)
    return producer


async def claim_again(
    partition_log: PartitionLog,
    owner: Owner,
    limits: Limits,
    before: Mapping[str, Any],
    *,
    next_offset: int,
    now_ms: int,
) -> tuple[Mapping[str, Any], int]:
    """Fence, close and claim a partition that is owned already; return the new claim and the offset after it.

    The broker forgets a producer id after a day without appends and a transactional id after a week without a claim.
    Called between two rounds, when nothing is on its way. Raises LogError: an owner that
    was frozen must not fence the one that came after it and go on with what it knew.
    """
    end = await partition_log.end("journal")
    await _require_no_other(partition_log, next_offset, end)
    producer = await _fence(partition_log, {before["producer_id"]})
    value = _claim_value(owner, producer, limits, await partition_log.topic_ids(), now_ms)
    offset = await partition_log.append([Entry(journal.CLAIM, journal.encode(value))])
    await _require_no_other(partition_log, next_offset, offset)
    return value, offset + 1


async def _require_no_other(partition_log: PartitionLog, start: int, end: int) -> None:
    """Raise Fenced if the journal holds anything but kill records in `[start, end)`."""
    async for records in partition_log.read("journal", start, end):
        for one in records:
            if not is_kill(one):
                raise Fenced(
                    f"journal-{partition_log.partition}: another owner wrote offset {one.offset} since this one did; "
                    "it has the partition"
                )


async def _claim(
    partition_log: PartitionLog,
    owner: Owner,
    producer: Producer,
    limits: Limits,
    topic_ids: dict[str, str],
    at_ms: int,
) -> int:
    value = _claim_value(owner, producer, limits, topic_ids, at_ms)
    return await partition_log.append([Entry(journal.CLAIM, journal.encode(value))])


def _claim_value(
    owner: Owner, producer: Producer, limits: Limits, topic_ids: Mapping[str, str], at_ms: int
) -> dict[str, Any]:
    return {
        "v": journal.FORMAT,
        "producer_id": producer.producer_id,
        "epoch": producer.epoch,
        "worker": owner.worker,
        "instance_id": owner.instance_id,
        "partitions": limits.partitions,
        "topics": dict(topic_ids),
        "at": rfc3339(at_ms),
    }


def _check_clock(skew_ms: int, took_ms: int, warn_ms: int, stop_ms: int) -> None:
    """`skew_ms` is the append time less our time before the append, which may be late by what the append took."""
    off_ms = skew_ms - min(max(skew_ms, 0), took_ms)
    if abs(off_ms) > stop_ms:
        raise ClockSkew(-off_ms, stop_ms)
    if abs(off_ms) > warn_ms:
        log.warning("clock_skew", seconds=-off_ms / 1000, remedy="set this machine's clock by NTP")


def _name_twin(before: dict[str, Any] | None, owner: Owner, partition: int) -> None:
    if before is not None and before["instance_id"] == owner.instance_id and before["worker"] != owner.worker:
        # The usual restart, or two processes that will fight for ever: only the second one to be claimed can tell.
        log.debug("claimed_from_own_instance_id", partition=partition, instance=owner.instance_id)


def _name_unknown(state: State) -> None:
    """Say which workflows a journal of an older release knows by name alone."""
    unknown = sorted(state.known.keys() - state.definitions.keys())
    if unknown:
        log.info(
            "workflows_known_by_name",
            partition=state.partition,
            workflows=unknown,
            remedy="nothing to do: each matches events as soon as it is announced or loaded",
        )


async def _find_inputs(
    partition_log: PartitionLog, state: State, before: dict[str, Any] | None, topic_ids: dict[str, str]
) -> None:
    """Say where reading goes on, and name what is missing there."""
    known: dict[str, str] = {} if before is None else before["topics"]
    for topic, offset in (("events", state.events_offset), ("commands", state.commands_offset)):
        start, end = await partition_log.bounds(topic)
        changed = bool(known.get(topic)) and known[topic] != topic_ids.get(topic)
        fresh = state.round == 0
        if changed or offset > end:
            log.error(
                "topic_recreated",
                topic=topic,
                partition=partition_log.partition,
                lost_from=offset,
                now=f"{start}..{end}",
                remedy="what was unread in the old topic is gone; reading the new one from its beginning",
            )
            offset = start
        elif offset < start:
            if not fresh:
                log.error(
                    "offsets_missing",
                    topic=topic,
                    partition=partition_log.partition,
                    missing=f"{offset}..{start - 1}",
                    remedy="retention took them before they were read: raise the topic's retention",
                )
            offset = start
        if topic == "events":
            state.events_offset = offset
        else:
            state.commands_offset = offset


async def _without_delivered(partition_log: PartitionLog, state: State, again: Sequence[Outgoing]) -> list[Outgoing]:
    """Drop from what must be delivered again what the tails of `results` and `runs` already hold."""
    ends: dict[str, int] = {}
    held: dict[str, Counter[bytes]] = {}
    for topic, start in (("results", state.results_end), ("runs", state.runs_end)):
        first, end = await partition_log.bounds(topic)
        ends[topic] = end
        found: Counter[bytes] = Counter()
        if again:
            async for records in partition_log.read(topic, max(first, start), end):
                found.update(one.value for one in records if one.value is not None)
        held[topic] = found
    left: list[Outgoing] = []
    for outgoing in again:
        results = [one for one in outgoing.results if not _drop(held["results"], one[1])]
        runs = [one for one in outgoing.runs if not _drop(held["runs"], one.value or b"")]
        left.append(Outgoing(outgoing.round, results, runs, outgoing.records))
    if not again:
        state.results_end = ends["results"]
        state.runs_end = ends["runs"]
    # Else the tail stays where it is until what is delivered again is marked as delivered: a takeover before that must
    # find in it what this one found.
    return left


def _drop(held: "Counter[bytes]", value: bytes) -> bool:
    if held[value] > 0:
        held[value] -= 1
        return True
    return False
