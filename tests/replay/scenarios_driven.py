"""Scenarios that the runtime's own driver plays: authors' functions are called, and what they come to is recorded."""

from typing import Any

from tests.replay.driven import Recording
from topics import keys, reserved, sources


def values_of_steps() -> dict[str, Any]:
    """Steps that return values of all types, and steps that fail for good in every way; async and plain."""
    made = Recording("workflows_of_values.py", reply_topics=["parcels"])
    made.send("orders/created", {"id": 1}, key="k1", event_id="o1")
    made.send("stock/in", {"n": 1}, key="s", event_id="s1", after_seconds=120)
    return made.done(after_seconds=60)


def waits_for_all_kinds() -> dict[str, Any]:
    """Waits that are met, by what came before and by what comes, and others in vain; times and filters."""
    made = Recording("workflows_of_waits.py")
    made.send("payments/made", {"sum": 1}, key="k1", event_id="p0")
    made.send("orders/created", {"id": 1}, key="k1", event_id="o1")
    made.send("payments/made", {"sum": 2}, key="k1", event_id="p1", event_type="card", after_seconds=0)
    made.send("payments/made", {"sum": 11}, key="k2", event_id="p2", event_type="cash")
    made.send("payments/made", {"sum": 12.5, "by": "é"}, key="k3", event_id="p3", event_type="card", after_seconds=60)
    made.send("payments/card/late", None, event_id="p4", after_seconds=10)
    for number in range(4):
        made.send("stock/in", {"n": number}, key="s", event_id=f"s{number}", after_seconds=60)
    return made.done(after_seconds=60)


def receipts_in_any_order() -> dict[str, Any]:
    """Waits on one topic, for other keys, types and filters each, whose events come in another order."""
    made = Recording("workflows_of_receipts.py", partitions=2)
    made.send("orders/created", {"items": ["tea", "cup", "pot"]}, key="k1", event_id="o1")
    for number, (item, kind) in enumerate((("pot", "van"), ("cup", "train"), ("tea", "van"), ("jar", "train"))):
        made.send("items/sent", {"n": number}, key=item, event_id=f"s{number}", event_type=kind, after_seconds=20)
    made.send("items/sent", {"n": 4}, key="cup", event_id="s4", after_seconds=60)
    made.send("items/kept", {"n": 5}, event_id="s5", after_seconds=60)
    return made.done(after_seconds=60)


def families_and_people() -> dict[str, Any]:
    """Children that complete, fail and are rejected; runs that are resumed by another and by a person; what is sent."""
    made = Recording("workflows_of_families.py", partitions=2, reply_topics=["parcels"])
    made.send("orders/created", {"id": 1}, key="k1", event_id="o1")
    made.send(reserved.resume_topic(made.run_of("asks"), "by a person"), {"yes": ["é"]}, after_seconds=60)
    return made.done(after_seconds=60)


def sources_of_runs() -> dict[str, Any]:
    """Runs that set sources up, wait for them, and send through them: answered, refused and unheard."""
    made = Recording("workflows_of_sources.py")
    made.send("orders/created", {"id": 1}, key="k1", event_id="o1")
    connected = {"state": "connected", "connected_at": "2026-01-01T00:00:00Z"}
    made.send(sources.state_topic("clock"), connected, key="clock")
    made.send("clock/tick", {"n": 1}, key="clock", event_id="t1", event_type="tick", after_seconds=60)
    answers = {
        "sent": {"status": "sent", "reply": {"ts": "1.2"}, "error": None},
        "refused": {"status": "failed", "reply": None, "error": "no such channel: é"},
    }
    for key, answer in answers.items():
        message = keys.published_event_id(made.run_of("sends"), key)
        made.send(sources.sent_topic(message), answer, key="bot", event_id=message)
    return made.done(after_seconds=600)
