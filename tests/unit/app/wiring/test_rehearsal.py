"""app.wiring.rehearsal: what `headgate.testing` does not show."""

from typing import Any

import pytest

from app.engine.values.errors import CommandGap
from app.wiring.rehearsal import BEGIN_MS, Rehearsal
from headgate import workflow
from topics import commands, journal


@workflow(id="echo", trigger_on_event="orders/*")
async def echo(ctx: Any, payload: Any) -> Any:
    return payload["events"][0]["data"]


def test_an_event_without_key_and_id_lands_somewhere_and_is_named_by_its_place() -> None:
    service = Rehearsal([echo], partitions=3)
    ids = [service.send("orders/created", number) for number in range(4)]
    assert ids == ["0-0", "1-0", "2-0", "0-1"]
    assert sorted(one["result"] for one in service.results()) == [0, 1, 2, 3]
    service.close()


def test_time_begins_at_a_fixed_moment() -> None:
    service = Rehearsal([echo])
    service.advance(1.5)
    assert service.now_ms() == BEGIN_MS + 1500
    service.close()


def test_an_error_that_would_end_a_worker_is_raised_where_it_was_met() -> None:
    service = Rehearsal([echo], partitions=1)
    gap = commands.encode(source=0, journal_id="strange", sequence=7, partitions=1, events=[], batched=[])
    with pytest.raises(CommandGap):
        service.produce("commands", None, gap, (), home=0)
    service.close()


def test_a_journal_that_cannot_be_read_is_told_where_the_worker_is_started_anew() -> None:
    service = Rehearsal([echo], partitions=1)
    service.send("orders/created", 1)
    service.produce("journal", journal.HEAD, b"no json", (), home=0)
    with pytest.raises(journal.UnreadableJournal):
        service.restart()
    service.close()


def test_what_is_no_event_is_a_dead_letter_and_no_event() -> None:
    service = Rehearsal([echo])
    service.produce("events", None, b"no json", (), home=0)
    assert [one["code"] for one in service.dead_letters()] == ["not_json"]
    assert service.events() == []
    service.close()
