"""Scenarios of waits, of what other partitions ask and tell, and of records for topics that are away."""

from typing import Any, Final

from tests.replay.recording import FAILS, START, Recording
from topics import asked, commands, keys, reserved

ORDER: Final = {"id": "order", "trigger_on_event": "orders/created", "max_retries": 0}


def on(topic: str, **more: Any) -> dict[str, Any]:
    """Return a condition: an event on that topic."""
    return {"topic": topic} | more


def one_of(*conditions: Any, deadline_ms: int | None = None) -> dict[str, Any]:
    return {"conditions": list(conditions), "need": 1, "deadline_ms": deadline_ms}


def all_of(*conditions: Any, deadline_ms: int | None = None) -> dict[str, Any]:
    return one_of(*conditions, deadline_ms=deadline_ms) | {"need": len(conditions)}


def waits_for_events() -> dict[str, Any]:
    """Waits of every kind in one partition: keyed and keyless, that look back, several at once, with filters, in vain.

    Their time-outs and a person's decision are among them.
    """
    made = Recording(([ORDER], []), candidates=2)
    made.events(made.raw("payments/made", 0, key="early", event_type="card"))
    made.commit()
    a, b, c, d, e, f, g = made.events(*(made.raw("orders/created", n, key=f"k{n}", event_id=f"e{n}") for n in range(7)))
    suspended = {"deadline_ms": START + 900_000, "topic": reserved.resume_topic(f, "ok?")}
    made.step(
        asked=[
            [a, 1, "keyed", "await", one_of(on("payments/made", event_key="k0"))],
            [b, 1, "any", "await", one_of(on("payments/*", event_type="card"), on("stock/**"), START + 600_000)],
            [c, 1, "all", "await", all_of(on("payments/made"), on("stock/out"), START + 30_000)],
            [d, 1, "early", "await", one_of(on("payments/made", since_ms=START))],
            [e, 1, "vain", "await", one_of(on("nothing/comes"), deadline_ms=START + 60_000)],
            [f, 1, "ok?", "suspend", suspended],
            [g, 1, "picky", "await", one_of(on("stock/in", stream=True), deadline_ms=START + 800_000)],
        ]
    )
    made.commit()
    made.delivered(evicted=[a, b])
    made.commit()
    made.events(made.raw("payments/made", 1, key="k9", event_id="p1"), made.raw("payments/made", 2, event_id="p1"))
    made.commit()
    made.events(made.raw("payments/made", 3, key="k0", event_type="card"))
    made.commit()
    made.events(*(made.raw("stock/in", n, event_id=f"s{n}") for n in range(4)))
    made.commit()
    picky = [g, 1, "picky", "await", one_of(on("stock/in", stream=True), deadline_ms=START + 800_000)]
    made.step(asked=[picky], judged=[[g, 1, "picky", 0, False]])
    made.commit()
    made.step(after_ms=30_000)  # the sleep of all of them is over
    made.commit()
    made.step(asked=[picky], judged=[[g, 1, "picky", 0, False]])
    made.step(asked=[picky])
    made.commit()
    made.delivered()
    made.step(after_ms=40_000)  # nothing has come for one
    made.commit()
    made.events(made.raw("stock/out", 4), made.raw(reserved.resume_topic(f, "ok?"), {"by": "me"}))
    made.commit()
    made.step(asked=[[d, 1, "next", "await", one_of(on("payments/made"), on("payments/**", since_ms=START))]])
    made.commit()
    made.step(asked=[picky], judged=[[g, 1, "picky", 0, True]])
    made.commit()
    made.delivered()
    made.end(a, b, c, f, g)
    made.end(e, failure=FAILS | {"type": "EventTimeout"})
    made.commit()
    made.events(made.raw("headgate/cancel", None, key=d))  # its wait is withdrawn
    made.commit()
    return made.done()


def waits_between_partitions() -> dict[str, Any]:
    """A registry and the homes of its events elsewhere: interests, notices, candidates, an event that meets many."""
    here, there = topic_at(0, "payments"), topic_at(1, "stock")
    ship = {"id": "ship", "max_retries": 0}
    made = Recording(([ORDER, ship], []), partitions=3, waits_a_round=3, candidates=2)
    own = [key for key in map("k{}".format, range(40)) if keys.partition_of(key.encode(), 3) == 0]
    a, b, c = made.events(
        *(made.raw("orders/created", n, key=own[n], event_id=f"e{n}") for n in range(3)),
        made.raw(there, "before", key=own[3]),
    )
    made.step(
        asked=[
            [a, 1, "here", "await", one_of(on(here))],
            [b, 1, "there", "await", one_of(on(there, event_key="x"), deadline_ms=START + 50_000)],
            [c, 1, "child", "invoke", ["ship"]],
        ]
    )
    made.commit()
    made.told(1, asked.Interest("stock", False, START), asked.Interest("", True, START), asked.Flush(4))
    made.commit()
    made.told(1, asked.Confirmed("payments", False, START))
    made.commit()
    early = made.raw(here, "early", key="x", partition=2)
    many = [theirs(n, here, since_ms=made.now + 100) for n in range(4)]
    made.told(2, asked.Notice(commands.event_of(early)), asked.Confirmed("payments", False, START))
    made.commit()
    for some in (many[:3], [*many[3:], theirs(8, here, event_key="x")], [theirs(9, here, event_key="never")]):
        made.told(2, *some)  # no more than a round opens, so that their order is that of the journal
        made.commit()
    made.step(after_ms=200)
    made.events(made.raw(there, "late", key=own[4]), made.raw(here, "own", key=own[5]))
    for _ in range(3):  # it meets many
        made.commit()
        made.step()
    made.delivered()
    made.commit()
    made.told(2, asked.Withdraw("order:9", "w", 0), theirs(7, here, stream=True))
    made.commit()
    found = [made.raw(here, n, event_id=f"n{n}", partition=1) for n in range(4)]
    made.told(1, *(asked.Notice(commands.event_of(one)) for one in found))
    made.commit()
    made.step()
    made.commit()
    made.told(2, asked.More("order:7", "w", 0, 2))
    made.commit()
    met = made.raw(there, "met", key="x", partition=1)
    made.told(1, asked.Met(b, "there", 0, commands.event_of(met)), asked.Flush(6))
    made.commit()
    made.told(1, asked.Child(c, "child", 0, "completed", b'"sent"'))
    made.commit()
    made.delivered()
    made.step(asked=[[c, 1, "again", "await", one_of(on(there), deadline_ms=START + 70_000)]])
    made.commit()
    made.told(1, asked.Expired(c, "again", 0), asked.Cancel("order:nobody", "for once"))
    made.commit()
    made.told(2, asked.Withdraw("order:7", "w", 0))
    made.end(a, b, c)
    made.commit()
    return made.done()


def waits_for_topics() -> dict[str, Any]:
    """A registry that asks for topics one by one, then for their head; and a home that is asked for a topic."""
    named = (f"payments/t{n}" for n in range(100))
    one, two, three = [name for name in named if keys.partition_of(name.encode(), 3) == 0][:3]
    made = Recording(([ORDER], []), partitions=3, topics_of_a_head=2)
    own = [key for key in map("k{}".format, range(40)) if keys.partition_of(key.encode(), 3) == 0]
    a, b, c = made.events(
        *(made.raw("orders/created", n, key=own[n], event_id=f"e{n}") for n in range(3)),
        made.raw("stock/in", "told", key=own[3]),
        made.raw("stock/out", "not told", key=own[4]),
    )
    made.step(asked=[[a, 1, "one", "await", one_of(on(one))], [b, 1, "two", "await", one_of(on(two))]])
    made.commit()
    made.told(1, asked.Interest("/stock/in", False, START))
    made.commit()
    for source in (1, 2):
        made.told(source, asked.Confirmed(f"/{one}", False, START), asked.Confirmed(f"/{two}", False, START))
        made.commit()
    made.step(asked=[[c, 1, "three", "await", one_of(on(three), on(one))]])
    made.commit()
    first = made.raw(one, "first", partition=2)
    made.told(2, asked.Notice(commands.event_of(first)), asked.Confirmed("payments", False, START))
    made.events(made.raw("stock/in", "told too", key=own[3]), made.raw("stock/out", "not told", key=own[4]))
    made.commit()
    made.told(1, asked.Confirmed("payments", False, START))
    made.events(made.raw(two, "second", key=own[5]))
    made.commit()
    made.delivered()
    made.end(a, b, c)
    made.commit()
    return made.done()


def theirs(
    n: int, topic: str, *, event_key: str | None = None, stream: bool = False, since_ms: int = START
) -> asked.Wait:
    """Return a wait of a run that is elsewhere."""
    return asked.Wait(f"order:{n}", "w", 0, topic, event_key, None, since_ms, None, (), stream)


def topic_at(partition: int, head: str) -> str:
    """Return a topic whose waits are at that partition of three."""
    named = (f"{head}/t{n}" for n in range(100))
    return next(one for one in named if keys.partition_of(one.encode(), 3) == partition)


def parked_records() -> dict[str, Any]:
    """Records for a topic of somebody else's that is away, kept until it is back."""
    made = Recording(([ORDER], []))
    a, b = made.events(*(made.raw("orders/created", n, key=f"k{n}", event_id=f"e{n}") for n in range(2)))
    made.step(asked=[[a, 1, "send", "note", {"send": "away"}], [b, 1, "send", "note", {"send": "away"}]])
    made.commit()
    made.delivered(parked={"0": "away", "1": "away"})
    made.step(asked=[[a, 1, "more", "note", {"send": "away"}]])
    made.commit()
    made.step(unparked=[0])
    made.delivered(parked={"2": "away"})
    made.commit()
    made.end(a, b)
    made.commit()
    made.step(unparked=[1])
    made.commit()
    return made.done()
