"""What people want of runs: they are cancelled, or go on; and whose failures are looked at."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from app.engine.runs import handlers
from tests.simulation.model.logs import Identity, Logs, Result
from tests.simulation.violation import Violation
from topics import keys, reserved
from topics.timestamps import milliseconds


def the_cancelled_were_to_be_and_no_others_wait(logs: Logs) -> None:
    """What ended before it heard of a wish has its own result; what waits still has heard of none."""
    wishes: defaultdict[str, list[int]] = defaultdict(list)
    by_key: defaultdict[str, list[int]] = defaultdict(list)
    for identity in logs.identities.values():
        event = identity.event
        at_ms = min(one.timestamp_ms for one in identity.copies)
        if event.key is not None and event.topic == reserved.CANCEL:
            wishes[event.key].append(at_ms)
        elif event.key is not None and event.topic.startswith("cancels/"):
            by_key[event.key].append(at_ms)

    def of_run(run: str, key: str | None) -> list[int]:
        by_event = by_key[key] if key is not None and logs.programs[run.partition(":")[0]].cancel_on else []
        return [*wishes[run], *by_event]

    for result in logs.results:
        value = result.value
        if value["status"] != "cancelled":
            continue
        if value["error"]["type"] != "RunCancelled" or value["result"] is not None:
            raise Violation(f"{value['run_id']} was cancelled with {value['error']}, and returned {value['result']}")
        if not any(at_ms <= milliseconds(value["finished_at"]) for at_ms in of_run(value["run_id"], value["key"])):
            raise Violation(f"{value['run_id']} was cancelled, and nobody wanted that")
    for run in logs.waiting:
        began_ms = logs.sim.watch.began_ms[run]
        late = [at_ms for at_ms in of_run(run, logs.events_of(run)[0].key) if at_ms > began_ms]
        if late:
            raise Violation(f"MISSED: {run} began at {began_ms} and waits still, it was cancelled at {late}")


def failures_are_looked_at(logs: Logs) -> None:
    """Each run that failed or was rejected has started what its workflow names in `on_failure`, once."""
    found: dict[str, str] = {}
    for identity in logs.identities.values():
        if identity.event.id.endswith("#failed"):
            if identity.event.id in found:
                raise Violation(f"DOUBLED: {identity.event.id} came as two events")
            found[identity.event.id] = identity.event.topic
            failed = handlers.failed_of(identity.event)
            if failed is None:
                raise Violation(f"{identity.event.id} does not say which run has failed")
            if failed.known and _nobody_ran(logs, identity):
                raise Violation(f"LOST: the handler of {failed.run} was known to it, and its event is a dead letter")
    wanted = dict(_handled(logs))
    if found != wanted:
        raise Violation(f"LOST or FORGED: of failed runs {wanted} must be told, and {found} is")


def _nobody_ran(logs: Logs, identity: Identity) -> bool:
    places = {(one.partition, one.offset) for one in identity.copies}
    return any(
        one["code"] == "no_such_workflow" and (one["source"]["partition"], one["source"]["offset"]) in places
        for one in logs.letters
    )


def _handled(logs: Logs) -> Iterator[tuple[str, str]]:
    for result in logs.results:
        handler = logs.programs[result.workflow].on_failure
        if handler is None or result.value["status"] not in ("failed", "rejected") or _handles(logs, result):
            continue
        yield keys.failure_event_id(result.value["run_id"]), reserved.start_topic(handler)


def _handles(logs: Logs, result: Result) -> bool:
    return logs.at(result.events[0]).id.endswith("#failed")


def the_stuck_went_on(logs: Logs) -> None:
    """A run that was stuck and came to something by itself was let go on as often."""
    facts: Counter[tuple[str, str]] = Counter((one["run_id"], one["fact"]) for one in logs.facts())
    for (run, fact), count in facts.items():
        if fact != "run_stuck":
            continue
        if not logs.sim.family:
            raise Violation(f"{run} was stuck, though its code was the same all the time")
        resumed = facts[run, "run_resumed"]
        ended = logs.ended.get(run)
        by_itself = ended is None or ended.value["status"] in ("completed", "rejected")
        if resumed > count or (by_itself and resumed != count):
            raise Violation(f"{run} was stuck {count} times and went on {resumed} times; then it came to {ended}")
