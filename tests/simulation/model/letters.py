"""Dead letters: each one has its reason, and nothing that could not be run is without one."""

import base64
from collections import Counter
from typing import Any

from tests.simulation.model.logs import Identity, Logs
from tests.simulation.model.results import too_many
from tests.simulation.violation import Violation
from topics.reserved import START


def dead_letters_are_right(logs: Logs) -> None:
    found: Counter[tuple[str, int, int, str | None]] = Counter()
    for one in logs.letters:
        source = one["source"]
        found[one["code"], source["partition"], source["offset"], one["workflow_id"]] += 1
        _check_original(logs, one)
    wanted: Counter[tuple[str, int, int, str | None]] = Counter()
    for (partition, offset), code in logs.malformed.items():
        wanted[code, partition, offset, None] = 1
    for result in logs.results:
        if result.value["status"] in ("failed", "rejected"):
            code = "run_rejected" if result.value["status"] == "rejected" else "run_failed"
            for partition, offset in result.events:
                wanted[code, partition, offset, result.workflow] = 1
    missing = [one for one in wanted if not found[one]]
    if missing:
        raise Violation(f"LOST: no dead letter for {missing}")
    for code, partition, offset, workflow in found:
        if (code, partition, offset, workflow) in wanted:
            continue
        digest = logs.by_place.get((partition, offset))
        if code == "topic_missing" and partition == -1:
            continue
        if code == "topic_away" and partition == -1 and logs.sim.away_from is not None and logs.sim.most_parked < 100:
            continue
        if digest is None:
            raise Violation(f"a dead letter {code} of {partition}-{offset}, where no event is")
        identity = logs.identities[digest]
        fits = (
            (
                code == "filter_failed"
                and workflow is not None
                and logs.programs[workflow].passes(logs.at((partition, offset))) == "raises"
            )
            or (code == "too_many_workflows" and too_many(logs, identity)[0])
            or (code == "too_many_asleep" and logs.sim.shape.limits.asleep_events < 100)
            or (code == "no_such_workflow" and identity.event.topic == f"{START}{workflow}")
            or (code == "reply_refused" and identity.event.reply_topic == "forbidden")
        )
        if not fits:
            raise Violation(f"a dead letter {code} of {partition}-{offset} ({workflow}) that nothing explains")
    for identity in logs.identities.values():
        _check_buried(logs, identity, found)


def _check_buried(logs: Logs, identity: Identity, found: Counter[tuple[str, int, int, str | None]]) -> None:
    """An event that could not be decided has a dead letter."""

    def has(code: str, workflow: str | None) -> bool:
        return any(found[code, one.partition, one.offset, workflow] for one in identity.copies)

    if too_many(logs, identity)[1] and not has("too_many_workflows", None):
        raise Violation(f"LOST: {identity.event.id} triggers too many workflows, without a dead letter")
    if too_many(logs, identity)[0]:
        return
    oldest = min(one.timestamp_ms for one in identity.copies)
    for program in logs.programs.values():
        since = logs.known[identity.home].get(program.id)
        if since is None or oldest <= since or not logs.sim.workflows[program.id].matches(identity.event.topic):
            continue
        if has("too_many_asleep", program.id):
            continue
        if {program.passes(one) for one in identity.copies} == {"raises"} and not has("filter_failed", program.id):
            raise Violation(f"LOST: the filter of {program.id} failed for {identity.event.id}, no dead letter")


def _check_original(logs: Logs, letter: dict[str, Any]) -> None:
    source = letter["source"]
    if source["partition"] < 0:
        return
    records = logs.sim.cluster.read("events", source["partition"])
    record = next(one for one in records if one.offset == source["offset"])
    if (original(letter["value"], letter["encoding"]["value"]), original(letter["key"], letter["encoding"]["key"])) != (
        record.value,
        record.key,
    ):
        raise Violation(f"the dead letter of {source} does not hold the original: {letter}")


def original(text: str | None, encoding: str | None) -> bytes | None:
    """Return the bytes of a field of a dead letter."""
    if text is None:
        return None
    return base64.b64decode(text) if encoding == "base64" else text.encode()
