"""What was recorded, as it was made to happen. A new history is a new function; `history.py` writes its file."""

from collections.abc import Callable
from typing import Any, Final

from tests.replay import scenarios_driven as driven
from tests.replay import scenarios_of_waits as of_waits
from tests.replay.recording import FAILS, START, Recording
from topics import commands, keys


def retries_and_published_events() -> dict[str, Any]:
    """Runs that fail, publish, are rejected, take too long, and answer."""
    made = Recording(([{"id": "charge", "trigger_on_event": "orders/*", "timeout": 60, "max_retries": 2}], []))
    a, b, c, d = made.events(
        made.raw(
            "orders/created",
            {"n": 1, "text": "€\n"},
            event_id="a",
            key="k1",
            reply_topic="answers",
            correlation_id="c-1",
        ),
        made.raw("orders/created", 2, event_id="b", traceparent=f"00-{'0af7651916cd43dd' * 2}-b7ad6b7169203331-01"),
        made.raw("orders/paid", 3, event_id="c", reply_topic="forbidden"),
        made.raw("orders/paid", 4),
    )
    made.step(published=[[a, 1, "tell"], [b, 1, "tell"]])
    made.end(b, failure=FAILS)
    made.commit()
    made.end(a, result='["é", 1.50]')
    made.end(c, failure=FAILS | {"rejected": True})
    made.commit()
    made.step(delivered=[1, 2, 3])
    made.step(after_ms=2_000)
    made.step(published=[[b, 2, "tell"], [b, 2, "more"]])
    made.end(b, failure=FAILS | {"retry_after_ms": 5_000})
    made.events(made.raw("orders/created", 1, event_id="a", key="k1"), made.raw("orders/created", 5, event_id="e"))
    made.commit()
    made.step(after_ms=5_000)
    made.commit()
    made.end(b, failure=FAILS)
    made.commit()
    made.step(after_ms=60_000)
    made.commit()
    assert d not in made.player.state.runs
    return made.done()


def lanes_and_batches() -> dict[str, Any]:
    """Events behind others of their key, and in batches half full, under every way to gather."""
    made = Recording(
        (
            [
                {"id": "ordered", "trigger_on_event": "a/*"},
                {"id": "batch", "trigger_on_event": "a/x", "batch_size": 3, "batch_timeout_seconds": 5},
                {"id": "bykey", "trigger_on_event": "**", "batch_size": 2, "batch_by": "key", "order": "none"},
                {"id": "picky", "trigger_on_event": "a/y", "filter": "above_two", "order": "strict"},
            ],
            [],
        )
    )
    first = made.events(*(made.raw("a/x" if n % 2 else "a/y", n, key=f"k{n % 3}") for n in range(9)))
    made.commit()
    made.end(*first[:3])
    made.commit()
    made.step(delivered=[2, 5, 9])
    made.events(made.raw("a/x", 10, key="k0"), made.raw("b", 11), made.raw("a/y", "no number", key="k9"))
    made.commit()
    made.step(after_ms=6_000)
    made.commit()
    while made.player.state.runs:
        made.end(*sorted(made.player.state.runs))
        made.commit()
    return made.done()


def forwards_and_gathers() -> dict[str, Any]:
    """Events and batches of other partitions: sent there, and come from there."""
    made = Recording(([{"id": "all", "trigger_on_event": "**"}, *GATHERING], []), partitions=3, batch_bytes=500)
    made.events(*(made.raw("orders", n, key=f"k{n}") for n in range(12)))
    made.commit()
    made.end(*sorted(made.player.state.runs))
    sequence = 0
    for source in (1, 2, 1):
        sequence = 1 + sequence // 2
        events = [codec_event(made, n, source) for n in range(2)]
        made.step(
            commands=[
                commands.encode(
                    source=source,
                    journal_id="theirs",
                    sequence=sequence if source == 1 else 1,
                    partitions=3,
                    events=events,
                    batched=[commands.Batched(one["id"], codec_event(made, 7, source)) for one in GATHERING],
                ).decode()
            ]
        )
        made.commit()
    made.step(after_ms=9_000, delivered=[1, 4, 4])
    made.commit()
    while made.player.state.runs:
        made.end(*sorted(made.player.state.runs))
        made.commit()
    return made.done()


def codec_event(made: Recording, n: int, source: int) -> Any:
    return commands.event_of(made.raw("orders", n, key=f"from{source}", partition=source))


GATHERING: Final[list[dict[str, Any]]] = [
    {"id": name, "trigger_on_event": "**", "batch_size": 4, "batch_timeout_seconds": 3}
    for name in ("gather0", "gather1", "gather2", "gather3")
    if keys.partition_of(name.encode(), 3) in (0, 1)
]


def asleep_and_reloaded() -> dict[str, Any]:
    """A workflow that this owner lacks, then has, then has in another form; one that is added later."""
    old = {"id": "charge", "trigger_on_event": "orders", "version": "1"}
    new = {"id": "charge", "trigger_on_event": "orders", "version": "2", "batch_size": 2, "batch_timeout_seconds": 4}
    young = {"id": "young", "trigger_on_event": "orders"}
    made = Recording(([old], []), ([], [old]), ([new, young], []))
    (run,) = made.events(made.raw("orders", 1, key="k"), made.raw("orders", 2, key="k"))
    made.commit()
    made.end(run, failure=FAILS)
    made.commit()
    made.load(2)
    made.step(after_ms=2_000)
    made.commit()
    made.end(run)
    made.events(made.raw("orders", 3, key="k"))
    made.commit()
    made.end(*sorted(made.player.state.runs))
    made.commit()
    made.load(1)
    made.events(made.raw("orders", 4, key="k"), made.raw("orders", 5))
    made.commit()
    made.load(2)
    made.step(after_ms=5_000)
    made.commit()
    while made.player.state.runs:
        made.end(*sorted(made.player.state.runs))
        made.commit()
    return made.done()


def known_and_unheard_of() -> dict[str, Any]:
    """Workflows that an owner lacks and has not heard of: known by their triggers, in a newer form, and retired."""
    old = {"id": "charge", "trigger_on_event": "orders", "version": "1"}
    new = {"id": "charge", "trigger_on_event": ["orders", "refunds"], "version": "2"}
    gather = {"id": "gather", "trigger_on_event": "**", "batch_size": 2, "batch_by": "partition", "order": "none"}
    gone = {"id": "gone", "trigger_on_event": "refunds"}
    later = new | {"announced": START + 5}
    made = Recording(
        ([old, gather, gone], [old | {"announced": START}]),
        ([old], [later]),
        ([], []),
        ([new, gather], [later]),
        asleep_events=6,
    )
    first = made.events(made.raw("orders", 1, key="k"), made.raw("orders", 2, key="k"), made.raw("refunds", 3))
    made.commit()
    made.end(*first)
    made.commit()
    made.load(1)  # the others are unheard of now, and of this one there is a newer form
    made.end(*sorted(made.player.state.runs))
    made.events(made.raw("refunds", 4, key="k"), made.raw("orders", 5))
    made.commit()
    made.end(*sorted(made.player.state.runs))
    made.commit()
    made.load(2)
    made.events(made.raw("refunds", 6, key="k"), made.raw("unheard", 7))  # one of them is one too many
    made.commit()
    made.load(3, gone=START + 10)
    made.commit()
    while made.player.state.runs:
        made.end(*sorted(made.player.state.runs))
        made.commit()
    return made.done()


def schedules_and_downtime() -> dict[str, Any]:
    """Instants that start runs, queue behind them, pass without code, and end with their schedule."""
    each = {"id": "each", "schedule": {"cron": "*/5 * * * * *", "catch_up": "all"}, "max_retries": 0}
    latest = {
        "id": "latest",
        "trigger_on_event": "orders",
        "schedule": {"cron": "0 * * * * *", "timezone": "Asia/Tokyo"},
        "order": "none",
    }
    other = latest | {"schedule": {"cron": "30 * * * * *", "timezone": "Asia/Tokyo"}}
    made = Recording(([each, latest], []), ([], []), ([each, other], []), ([{"id": "each"}, other], []))
    made.commit()
    (first,) = made.step(after_ms=5_000)
    made.commit()
    made.step(after_ms=5_000)  # waits behind the first one
    made.events(made.raw("orders", 1, key="k"))
    made.commit()
    made.end(first)
    made.commit()
    made.end(*sorted(made.player.state.runs), failure=FAILS)
    made.load(1)
    made.commit()
    made.step(after_ms=130_000)
    made.load(0)
    made.commit()
    made.end(*sorted(one.id for one in made.player.state.runs.values() if one.workflow.id == "latest"))
    made.commit()
    made.load(2)
    made.commit()
    made.step(after_ms=30_000)
    made.end(*sorted(made.player.state.runs))
    made.commit()
    made.load(3)  # what waited for its turn is given up
    made.commit()
    while made.player.state.runs:
        made.end(*sorted(made.player.state.runs))
        made.commit()
    made.load(1)
    made.commit()
    return made.done()


def durable_steps() -> dict[str, Any]:
    """Steps of every kind that ends by itself, in runs that wait, are dropped, tried again, stuck and mended."""
    made = Recording(([{"id": "charge", "trigger_on_event": "orders", "max_retries": 1, "timeout": 90_000}], []))
    a, b, c, d = made.events(*(made.raw("orders", n, key=f"k{n}", event_id=f"e{n}") for n in range(4)))
    made.step(published=[[a, 1, "tell"]])
    made.step(asked=[[a, 1, "call", "run", 2], [c, 1, "call", "run", 0], [b, 1, "nap", "sleep", START + 60_000]])
    made.step(asked=[[d, 1, "naps", "await", [START + 50_000, START + 70_000]]])
    made.step(step_ended=[[a, 1, "call", '{"a":  1.50}', None], [c, 1, "call", None, FAILS]])
    made.commit()
    made.step()
    made.step(asked=[[a, 1, "ok?", "suspend", START + 600_000], [c, 1, "now", "note", '"5"']], evicted=[b])
    made.commit()
    made.step()
    made.end(c, failure=FAILS | {"type": "HistoryMismatch", "stuck": True})
    made.commit()
    made.step(after_ms=60_000)  # b has slept, and d half of it
    made.commit()
    made.step(resumed=[[a, "ok?", '"yes"']], mended=[c])
    made.commit()
    made.step(delivered=[5, 9, 9])
    made.step(asked=[[a, 1, "again", "run", 2]])
    made.step(step_ended=[[a, 1, "again", None, FAILS]])
    made.end(c, failure=FAILS)
    made.end(b)
    made.commit()
    made.step(after_ms=20_000)
    made.commit()
    made.step()
    made.step(asked=[[a, 1, "again", "run", 2]])
    made.step(step_ended=[[a, 1, "again", '"' + "x" * 1_200 + '"', None]])
    made.commit()
    made.step()
    while made.player.state.runs:
        made.end(*sorted(made.player.state.runs))
        made.commit()
    return made.done()


def children_and_cancels() -> dict[str, Any]:
    """Runs that start others, and wait for them; runs that are cancelled, and one that fails and has a handler."""
    order = {
        "id": "order",
        "trigger_on_event": "orders/created",
        "cancel_on": "orders/cancelled",
        "on_failure": "told",
        "max_retries": 0,
    }
    made = Recording(([order, {"id": "ship", "max_retries": 0}, {"id": "told"}], []))
    a, b, c = made.events(*(made.raw("orders/created", n, key=f"k{n}", event_id=f"e{n}") for n in range(3)))
    made.step(asked=[[a, 1, "rest", "invoke", ["ship", "ship", "nobody"]], [b, 1, "one", "invoke", ["ship"]]])
    made.commit()
    started = made.come_back()
    places = ((a, "rest", 0), (a, "rest", 1), (b, "one", 0))
    digests = [keys.event_digest("headgate/order", None, keys.child_event_id(*one)) for one in places]
    first, second, third = [keys.run_id("ship", one) for one in digests]
    assert sorted(started) == sorted((first, second, third))
    made.commit()
    made.end(first, result='"€"')
    made.commit()
    made.step(evicted=[a])
    made.events(made.raw("headgate/cancel", None, key=b), made.raw("headgate/cancel", None, key="ship:nothing"))
    made.commit()
    made.end(second, failure=FAILS | {"rejected": True})
    made.commit()
    made.step()
    made.end(a, failure=FAILS)
    made.commit()
    (told,) = made.come_back()
    made.events(made.raw("orders/cancelled", None, key="k2"), made.raw("orders/cancelled", None, key="k9"))
    made.commit()
    assert c not in made.player.state.runs
    made.end(third, told)
    made.commit()
    return made.done()


ALL: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "1-retries-and-published-events": retries_and_published_events,
    "1-lanes-and-batches": lanes_and_batches,
    "1-forwards-and-gathers": forwards_and_gathers,
    "1-asleep-and-reloaded": asleep_and_reloaded,
    "1-known-and-unheard-of": known_and_unheard_of,
    "1-schedules-and-downtime": schedules_and_downtime,
    "2-durable-steps": durable_steps,
    "2-children-and-cancels": children_and_cancels,
    "2-waits-for-events": of_waits.waits_for_events,
    "2-waits-between-partitions": of_waits.waits_between_partitions,
    "2-waits-for-topics": of_waits.waits_for_topics,
    "2-parked-records": of_waits.parked_records,
    "2-driven-values": driven.values_of_steps,
    "2-driven-waits": driven.waits_for_all_kinds,
    "2-driven-families": driven.families_and_people,
    "2-driven-sources": driven.sources_of_runs,
    "2-driven-receipts": driven.receipts_in_any_order,
}
