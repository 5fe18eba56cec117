"""What the pump relies on, asked of both logs."""

import asyncio

import pytest

from app.engine.values.outgoing import Record
from app.kafka.log import AppendFailed, Entry, Fenced, RecordTooLarge, Refusal, Refused
from tests.contract.conftest import Place, entries, placed, read, records
from topics import journal


async def test_a_new_topic_is_empty(place: Place) -> None:
    log = await place.owner()
    assert [await log.bounds(topic) for topic in ("events", "commands", "journal", "results", "runs")] == [(0, 0)] * 5
    assert await read(log) == []


async def test_each_topic_has_an_id_of_its_own(place: Place) -> None:
    ids = await (await place.owner()).topic_ids()
    assert set(ids) == {"events", "commands", "journal", "results", "runs"}
    assert len(set(ids.values())) == 5


async def test_appends_are_contiguous_and_come_back_as_they_were(place: Place) -> None:
    log = await place.owner()
    await log.fence()
    headers = [("a", b"1"), ("b", None), ("a", b"\xff")]
    assert await log.append([Entry(b"k1", b"v1", headers), Entry(b"k2", None), Entry(b"", b"")]) == 0
    assert await log.append(entries("k3")) == 3
    found = await read(log)
    assert [(one.key, one.value) for one in found] == [(b"k1", b"v1"), (b"k2", None), (b"", b""), (b"k3", b'{"r":1}')]
    assert [tuple(one.headers) for one in found] == [tuple(headers), (), (), ()]
    assert await log.bounds("journal") == (0, 4)


async def test_an_output_may_have_no_key_and_a_journal_may_not(place: Place) -> None:
    log = await place.owner()
    await log.fence()
    assert await log.deliver("results", [Entry(None, b"v")]) == 1
    assert [(one.key, one.value) for one in await read(log, "results")] == [(None, b"v")]
    with pytest.raises(AppendFailed):
        await log.append([Entry(None, b"v")])
    assert await read(log) == []


async def test_records_carry_the_time_of_their_append(place: Place) -> None:
    log = await place.owner()
    await log.fence()
    await log.append(entries("k"))
    assert (await read(log))[0].timestamp > 1_600_000_000_000


async def test_a_time_has_the_offset_of_the_first_record_that_is_as_late(place: Place) -> None:
    log = await place.owner()
    assert await log.offset_at("commands", 1_600_000_000_000) == 0
    await log.send(records("commands", "a", "b"))
    at_ms = (await read(log, "commands"))[0].timestamp
    assert await log.offset_at("commands", 0) == 0
    assert await log.offset_at("commands", at_ms) == 0
    assert await log.offset_at("commands", at_ms + 3_600_000) == 2


async def test_a_marker_is_no_record_that_is_late_enough(place: Place) -> None:
    log = await place.owner()
    await log.send(records("events", "a"))
    await place.gap("events")
    at_ms = (await read(log, "events"))[0].timestamp
    assert await log.offset_at("events", at_ms + 3_600_000) == 2


async def test_a_range_is_read_from_its_first_offset_to_before_its_last(place: Place) -> None:
    log = await place.owner()
    await log.fence()
    await log.append(entries("a", "b", "c", "d", "e"))
    assert placed(await read(log, start=1, end=4)) == [(1, "b"), (2, "c"), (3, "d")]
    assert await read(log, start=2, end=2) == []


async def test_markers_leave_gaps_that_no_reader_sees(place: Place) -> None:
    log = await place.owner()
    await log.send(records("events", "a"))
    await place.gap("events")
    await log.send(records("events", "b"))
    await place.gap("events")
    assert placed(await read(log, "events")) == [(0, "a"), (2, "b")]
    assert await log.bounds("events") == (0, 4)


async def test_the_older_owner_goes_on_until_the_newer_one_has_written(place: Place) -> None:
    older, newer = await place.owner(), await place.owner()
    await older.fence()
    await older.append(entries("a"))
    await newer.fence()
    assert await older.append(entries("late")) == 1
    assert await newer.append(entries("claim")) == 2
    with pytest.raises(Fenced, match="a newer owner has the partition"):
        await older.append(entries("too late"))
    assert placed(await read(newer)) == [(0, "a"), (1, "late"), (2, "claim")]


async def test_the_fence_stands_only_where_the_newer_owner_has_written(place: Place) -> None:
    older, newer = await place.owner(), await place.owner()
    await older.fence()
    await older.append(entries("a"))
    await older.deliver("results", entries("r1"))
    await newer.fence()
    await newer.append(entries("claim"))
    assert await older.deliver("results", entries("r2")) == 2


async def test_closed_outputs_refuse_the_older_owner_and_show_nothing_to_readers(place: Place) -> None:
    older, newer = await place.owner(), await place.owner()
    await older.fence()
    await older.deliver("results", entries("r1"))
    await newer.fence()
    await newer.close_outputs()
    ends = [await newer.bounds(topic) for topic in ("results", "runs")]
    assert ends == [(0, 2), (0, 1)]  # the markers are there when it returns
    with pytest.raises(Fenced):
        await older.deliver("results", entries("r2"))
    assert placed(await read(newer, "results")) == [(0, "r1")]
    assert await newer.deliver("results", entries("r3")) == 3
    assert await newer.deliver("runs", entries("f1")) == 2


async def test_closed_outputs_refuse_an_older_owner_that_had_written_nothing(place: Place) -> None:
    older, newer = await place.owner(), await place.owner()
    await older.fence()
    await newer.fence()
    await newer.close_outputs()
    with pytest.raises(Fenced):
        await older.deliver("runs", entries("f1"))


async def test_closing_the_outputs_gives_the_newest_epoch(place: Place) -> None:
    log = await place.owner()
    first = await log.fence()
    second = await log.close_outputs()
    assert (second.producer_id, second.epoch > first.epoch) == (first.producer_id, True)
    assert await log.append(entries("claim")) == 0


async def test_a_fenced_owner_stays_refused(place: Place) -> None:
    older, newer = await place.owner(), await place.owner()
    await older.fence()
    await newer.fence()
    await newer.append(entries("claim"))
    for _ in range(2):
        with pytest.raises(Fenced):
            await older.append(entries("k"))


async def test_an_owner_that_fences_again_goes_on_at_the_next_offset(place: Place) -> None:
    log = await place.owner()
    await log.fence()
    await log.append(entries("a", "b"))
    await log.fence()
    assert await log.append(entries("c")) == 2
    assert await log.append(entries("d")) == 3


async def test_a_kill_record_shuts_out_another_producer_id(place: Place) -> None:
    stranger = await place.owner(transactional_id="another")
    other = await stranger.fence()
    await stranger.append(entries("a"))
    await stranger.deliver("results", entries("r1"))
    log = await place.owner()
    mine = await log.fence()
    assert mine.producer_id != other.producer_id
    await log.shut_out(other.producer_id)
    with pytest.raises(Fenced):
        await stranger.append(entries("b"))
    kills = [one for one in await read(log) if any(name == journal.FENCE_HEADER for name, _ in one.headers)]
    assert [(one.offset, one.value) for one in kills] == [(1, None)]
    assert await log.append(entries("claim")) == 2


@pytest.mark.parametrize("topic", ["results", "runs"])
async def test_a_kill_record_shuts_out_another_producer_id_of_the_outputs(place: Place, topic: str) -> None:
    stranger = await place.owner(transactional_id="another")
    other = await stranger.fence()
    log = await place.owner()
    await log.fence()
    await log.shut_out(other.producer_id)
    with pytest.raises(Fenced):
        await stranger.deliver(topic, entries("late"))


async def test_an_id_that_was_shut_out_may_be_shut_out_again(place: Place) -> None:
    stranger = await place.owner(transactional_id="another")
    other = await stranger.fence()
    log = await place.owner()
    await log.fence()
    await log.shut_out(other.producer_id)
    await log.shut_out(other.producer_id)
    assert await log.append(entries("claim")) == (await log.bounds("journal"))[1] - 1


@pytest.mark.parametrize("topic", ["journal", "results", "runs"])
@pytest.mark.parametrize("commit", [True, False])
async def test_a_strangers_transaction_hides_nothing_from_an_owner_and_holds_up_no_takeover(
    place: Place, topic: str, *, commit: bool
) -> None:
    log = await place.owner()
    await log.fence()

    async def write(*names: str) -> None:
        await (log.append(entries(*names)) if topic == "journal" else log.deliver(topic, entries(*names)))

    await write("a")
    end = await place.strange(topic, Entry(b"stranger", b'{"r":1}'))
    await write("b", "c")

    assert placed(await asyncio.wait_for(read(log, topic), 20)) == [(0, "a"), (2, "b"), (3, "c")]
    await end(commit)
    assert placed(await asyncio.wait_for(read(log, topic), 20)) == [(0, "a"), (2, "b"), (3, "c")]


async def test_of_the_inputs_only_what_is_committed_is_read(place: Place) -> None:
    log = await place.owner()
    end = await place.strange("events", Entry(b"a", b"1"), Entry(b"b", b"2"))
    reading = asyncio.create_task(read(log, "events"))
    await end(True)
    assert placed(await asyncio.wait_for(reading, 20)) == [(0, "a"), (1, "b")]


async def test_a_batch_above_the_limit_is_refused_here_and_the_sequence_goes_on(place: Place) -> None:
    log = await place.owner()
    await log.fence()
    await log.append(entries("a"))
    with pytest.raises(RecordTooLarge, match=r"journal-0: a batch of .* above the limit"):
        await log.append(entries("large", value=b"x" * 9 * 1024 * 1024))
    assert await log.append(entries("b")) == 1


async def test_outputs_go_out_in_order_in_as_many_batches_as_they_need(place: Place) -> None:
    log = await place.owner()
    await log.fence()
    names = [f"r{number}" for number in range(7)]
    assert await log.deliver("results", entries(*names, value=b"x" * 400_000)) == 7
    assert placed(await read(log, "results")) == list(enumerate(names))


async def test_deliveries_and_appends_do_not_disturb_each_other(place: Place) -> None:
    log = await place.owner()
    await log.fence()

    async def journal_rounds() -> list[int]:
        return [await log.append(entries(f"k{number}")) for number in range(20)]

    async def results_rounds() -> list[int]:
        return [await log.deliver("results", entries(f"r{number}")) for number in range(20)]

    found = await asyncio.gather(journal_rounds(), results_rounds())
    assert list(found) == [list(range(20)), list(range(1, 21))]


async def test_records_are_sent_in_order_and_those_without_a_topic_come_back(place: Place) -> None:
    log = await place.owner()
    lost = Record("no-such-topic", None, b"k", b"v", (), foreign=True)
    missing = await log.send([*records("events", "a", "b"), lost, *records("events", "c"), *records("commands", "d")])
    assert missing == [Refused(lost, Refusal.MISSING)]
    assert placed(await read(log, "events")) == [(0, "a"), (1, "b"), (2, "c")]
    assert placed(await read(log, "commands")) == [(0, "d")]


async def test_nothing_is_appended_before_the_fence_nor_after_the_release(place: Place) -> None:
    log = await place.owner()
    with pytest.raises(AppendFailed, match="before the partition was fenced, or after its release"):
        await log.append(entries("a"))
    await log.fence()
    await log.append(entries("b"))
    await log.close()
    with pytest.raises(AppendFailed):
        await log.append(entries("c"))
    assert placed(await read(await place.owner())) == [(0, "b")]
