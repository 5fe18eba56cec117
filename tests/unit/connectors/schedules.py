"""Random cron expressions at changes of the clock, by our reader and by cronsim.

`python -m tests.unit.connectors.schedules --expressions 10000` draws that many for each zone and change of 2026; it
takes some minutes, and `--save` writes what came of it as JSON. A unit test does the same with fewer.
"""

import argparse
import json
import platform
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from topics.cron import CronError, parse

CHANGES: Final = {
    "America/New_York": ("2026-03-08T07:00:00+00:00", "2026-11-01T06:00:00+00:00"),
    "Europe/Berlin": ("2026-03-29T01:00:00+00:00", "2026-10-25T01:00:00+00:00"),
    "Australia/Sydney": ("2026-04-04T16:00:00+00:00", "2026-10-03T16:00:00+00:00"),
    "Africa/Casablanca": ("2026-02-15T02:00:00+00:00", "2026-03-22T02:00:00+00:00"),
    "America/Havana": ("2026-03-08T05:00:00+00:00", "2026-11-01T05:00:00+00:00"),
    "Asia/Beirut": ("2026-03-28T22:00:00+00:00", "2026-10-24T21:00:00+00:00"),
}
"""Instants at which clocks change. Not Lord Howe's half hour, in which cronsim misses instants."""
AT_MIDNIGHT: Final = ("America/Havana", "Asia/Beirut")
"""Where midnight is skipped, cronsim begins such a day an hour late for what goes by elapsed time: not compared."""
STEPS: Final = 30
_RANGES: Final = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def expressions(chance: random.Random) -> Iterator[str]:
    """Yield cron of five fields, often due; for ever."""
    while True:
        yield " ".join(_field(chance, *bounds) for bounds in _RANGES)


def _field(chance: random.Random, least: int, most: int) -> str:
    match chance.randrange(8):
        case 0 | 1 | 2:
            return "*"
        case 3:
            return f"*/{chance.randint(1, most - least)}"
        case 4:
            return ",".join(str(chance.randint(least, most)) for _ in range(chance.randint(2, 4)))
        case 5:
            return f"{_span(chance, least, most)}/{chance.randint(1, most - least)}"
        case 6:
            return _span(chance, least, most)
    return str(chance.randint(least, most))


def _span(chance: random.Random, least: int, most: int) -> str:
    low = chance.randint(least, most - 1)
    return f"{low}-{chance.randint(low + 1, most)}"  # not a-a/n: cronsim takes it for a/n


def differences(count: int, seed: int) -> tuple[int, list[str]]:
    """Compare `count` expressions in each zone at both changes, but for those that are never due or not comparable.

    Return how many were compared, and what differs, readably.
    """
    drawn = expressions(random.Random(seed))
    found = [
        _difference(next(drawn), zone, datetime.fromisoformat(change))
        for zone, changes in CHANGES.items()
        for change in changes
        for _ in range(count)
    ]
    return sum(one is not None for one in found), [one for one in found if one]


def _difference(text: str, zone: str, change: datetime) -> str | None:
    """Say what differs, "" for nothing, None where nothing was compared."""
    try:
        ours = parse(text, zone)
    except CronError as error:
        return None if "is never due" in str(error) else f"{text!r}: {error}"
    if ours.by_elapsed_time and zone in AT_MIDNIGHT:
        return None
    begin = change - timedelta(hours=30)
    theirs = CronSim(text, begin.astimezone(ZoneInfo(zone)))
    at = int(begin.timestamp() * 1000)
    for _ in range(STEPS):
        at = ours.next_after(at)
        expected = next(theirs).astimezone(UTC)
        if datetime.fromtimestamp(at / 1000, UTC) != expected:
            return f"{text!r} in {zone}: {datetime.fromtimestamp(at / 1000, UTC)}, not {expected}"
        if expected > change + timedelta(days=2):
            break
    return ""


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--expressions", type=int, default=10_000, help="for each zone and change")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--save", type=Path, help="write what came of it as JSON")
    chosen = arguments.parse_args()
    compared, found = differences(chosen.expressions, chosen.seed)
    drawn = chosen.expressions * sum(len(changes) for changes in CHANGES.values())
    print("\n".join([*found[:50], f"{drawn:,} drawn, {compared:,} compared, {len(found):,} differ"]))
    if chosen.save is not None:
        made = {
            "what": "python -m tests.unit.connectors.schedules: cron at changes of the clock, beside cronsim",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": platform.python_version(),
            "cronsim": version("cronsim"),
            "seed": chosen.seed,
            "zones": list(CHANGES),
            "drawn": drawn,
            "compared": compared,
            "differ": len(found),
        }
        chosen.save.write_text(json.dumps(made, indent=1) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
