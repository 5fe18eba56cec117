"""What a fleet has come to: counts by source, as JSON to be kept and as a table to be read."""

import os
import platform
import statistics
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from app.kafka.embedded.jars import load_lock
from tests.e2e.fleet.blows import KILLED, Blow, Fleet
from tests.e2e.fleet.world import World
from tests.e2e.service import Service
from tests.e2e.tally import dead_letters

AGAIN: Final = ", then another blow before they went on"
TAKEOVER_SECONDS: Final = 10.0 + 1.0 + 1.0
"""Most until a source whose owner was killed, and that has an event each second at least, has a result again.

The others have it 10 s after the death, which is promised; its next event happens within a second, and gets a second to
be read, published and run. Docs (operate/connectors.md) count from the last death on, and ADR 13 tells blows upon each
other apart: so a time counts only where nothing else came upon the source before it went on.
"""


def summary(fleet: Fleet, service: Service, *, absent: Mapping[str, str], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of a run that has finished; `about` says how it was made."""
    records = fleet.told.records()
    sources = {name: _source(fleet, name, records[name]) for name in fleet.worlds}
    demanded = [one for one in sources.values() if one["delivery"] != "best-effort"]
    letters = dead_letters(service)
    return {
        "what": "python -m tests.e2e.fleet: kill -9 of processes of connectors and of the gateway, frozen owners, a "
        "broker that is away, under load; two processes of connectors, a gateway, a worker, a broker",
        "machine": {"cpus": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        "versions": {"headgate": version("headgate"), "kafka": load_lock().kafka},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        **about,
        "lost": sum(one["lost"] for one in demanded),
        "doubled": sum(one["doubled"] for one in demanded),
        "ended_wrongly": len(fleet.told.wrong),
        "dead_letters": dict(Counter(letter["code"] for letter in letters)),
        "exits_of_processes_not_killed": dict(fleet.exits),
        "exits_without_broker": dict(fleet.without_broker),
        "positions_fenced": fleet.logged("positions_fenced"),
        "blows": dict(Counter(blow.what for blow in fleet.blows)),
        "seconds_until_next_result": _all_seconds(fleet),
        "longest_takeover": longest_takeover(fleet, load=about["load"]),
        "sources": sources,
        "absent": dict(absent),
    }


def right(found: Mapping[str, Any]) -> bool:
    """Whether nothing that was promised is broken."""
    wrong = ("lost", "doubled", "ended_wrongly", "dead_letters", "exits_of_processes_not_killed")
    longest = found["longest_takeover"]
    return not any(found[name] for name in wrong) and (longest is None or longest["seconds"] <= TAKEOVER_SECONDS)


def longest_takeover(fleet: Fleet, *, load: float) -> dict[str, Any] | None:
    """Return of kills of one process that nothing else came upon which source was longest without a result.

    Only sources count that tell at once what happens, each second at least. None: there was no such kill.
    """
    times = [
        (seconds, name)
        for name, world in fleet.worlds.items()
        if _is_frequent(world, load)
        for seconds in _alone(fleet, name)
    ]
    seconds, name = max(times, default=(0.0, ""))
    return {"seconds": round(seconds, 2), "source": name, "times": len(times)} if times else None


def _is_frequent(world: World, load: float) -> bool:
    """Whether it has an event each second; one without a rate has them by itself (`clock`)."""
    return world.is_prompt and (not world.per_second or world.per_second * load >= 1.0)


def _alone(fleet: Fleet, name: str) -> Iterator[float]:
    """Yield how long each kill of its owner's process held a source up, but those that another blow came upon."""
    for blow in fleet.blows:
        if blow.what == KILLED and name in blow.sources:
            is_told = fleet.told.first_after(name, blow.at)
            if is_told is not None and not any(_comes_upon(other, name, blow.at, is_told) for other in fleet.blows):
                yield is_told - blow.at


def _comes_upon(other: Blow, name: str, since: float, until: float) -> bool:
    return since < other.at < until and (other.holds_up or name in other.sources)


def _source(fleet: Fleet, name: str, records: tuple[int, int]) -> dict[str, Any]:
    world, told = fleet.worlds[name], fleet.told
    seen = told.times[name].keys()
    missing, doubled = fleet.missing(name), told.doubled(name)
    found: dict[str, Any] = {
        "kind": world.kind,
        "delivery": str(world.promise),
        "peer": world.peer,
        "events": world.count(seen),
        "seen": len(seen),
        "lost": len(missing),
        "doubled": len(doubled),
        "records": records[0],
        "repeated_records": records[0] - records[1],
        "seconds_until_next_result": _told(_each(fleet, name)),
        **world.details(),
    }
    if missing and world.is_demanded:
        found["lost_numbers"] = sorted(missing)[:50]
    if doubled:
        found["doubled_numbers"] = sorted(doubled)[:50]
    return found


def _all_seconds(fleet: Fleet) -> dict[str, Any]:
    """Return the same of all sources whose peers give at once what a dead owner had."""
    by_kind: dict[str, list[float]] = {}
    for name, world in fleet.worlds.items():
        if world.is_prompt:
            for kind, several in _each(fleet, name).items():
                by_kind.setdefault(kind, []).extend(several)
    return _told(by_kind)


def _each(fleet: Fleet, name: str) -> dict[str, list[float]]:
    """Return by blows upon its owner how long it took until an event had a result that happened after the blow.

    Where another process was struck before that, or the broker was away, the time is that since the last of it (since
    the broker was back), and counted apart.
    """
    by_kind: dict[str, list[float]] = {}
    for blow in fleet.blows:
        if name not in blow.sources:
            continue
        what, since, is_told = blow.what, blow.at, fleet.told.first_after(name, blow.at)
        for other in fleet.blows:
            if is_told is not None and other.holds_up and since < other.at < is_told:
                what, since, is_told = f"{blow.what}{AGAIN}", other.at, fleet.told.first_after(name, other.at)
        if is_told is not None:
            by_kind.setdefault(what, []).append(is_told - since)
    return by_kind


def _told(by_kind: Mapping[str, list[float]]) -> dict[str, Any]:
    return {
        kind: {"times": len(several), "median": round(statistics.median(several), 2), "longest": round(max(several), 2)}
        for kind, several in sorted(by_kind.items())
    }


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print a summary."""
    table = Table(title=f"seed {found['seed']}: {found['seconds']} s")
    for column in (
        "source",
        "kind",
        "events",
        "seen",
        "lost",
        "doubled",
        "repeated",
        "killed",
        "median s",
        "longest s",
    ):
        table.add_column(column, justify="left" if column in ("source", "kind") else "right")
    for name, one in found["sources"].items():
        killed = one["seconds_until_next_result"].get("connectors killed", {})
        counts = [one[key] for key in ("events", "seen", "lost", "doubled", "repeated_records")]
        times = [killed.get(key, "") for key in ("times", "median", "longest")]
        table.add_row(name, f"{one['kind']}, {one['delivery']}", *map(str, counts + times))
    console.print(table)
    for name in (
        "blows",
        "positions_fenced",
        "seconds_until_next_result",
        "longest_takeover",
        "dead_letters",
        "exits_of_processes_not_killed",
        "absent",
    ):
        console.print(f"{name}: {found[name]}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"lost {found['lost']}, doubled {found['doubled']}, ended wrongly {found['ended_wrongly']}", highlight=False
    )
