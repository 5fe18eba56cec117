"""`make fuzz`: hostile inputs for everything that reads what strangers send; none may escape as an unexpected error.

    python -m tests.fuzz --count 1000000 --seed 7 --save benchmarks/results/fuzz-7.json
    python -m tests.fuzz --only sse,codec --count 50000
    python -m tests.fuzz --only sse --seed 7 --at 123456      # one input again, with its whole story

Each input is a right one after some changes: cut, repeated, spliced, of wrong types, nested too deep, huge, no UTF-8. A
parser that is much slower than the others gets fewer of them (column inputs). What comes out goes on to where it would
go: an event is made, encoded and decoded, a position is written and read. A failure ends this with 1, and is shown with
its input in hex; the seed and the number make it again.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.fuzz import (
    brokers,
    clouds,
    declarations,
    events,
    feeds,
    language,
    polls,
    pool,
    schedules,
    streams,
    webhooks,
)
from tests.fuzz.pool import Tried
from tests.fuzz.targets import Target

HEX_SHOWN: Final = 2_000
ROOMS: Final = (streams, feeds, webhooks, polls, clouds, brokers, events, schedules, language, declarations)
TARGETS: Final[Mapping[str, Target]] = {one.name: one for room in ROOMS for one in room.TARGETS}


def main() -> int:
    given = _arguments()
    chosen = [TARGETS[name] for name in given.only]
    if given.at is not None:
        return again(chosen, given.seed, given.at)
    began = time.monotonic()

    def progress(name: str, tried: Tried) -> None:
        print(row(name, tried), flush=True)

    print(f"seed {given.seed}, {given.count:,} inputs each, {given.processes} processes")
    print(f"{'target':<22} {'inputs':>10} {'µs each':>8} {'slowest':>9}  what became of them")
    found = pool.run(chosen, count=given.count, seed=given.seed, processes=given.processes, progress=progress)
    failures = [one for tried in found.values() for one in tried.failures]
    for one in failures:
        print(f"\n{one.target} {one.number}: {one.where}\n  {one.error}\n  input in hex: {_bounded(one.input)}")
        print(f"{one.story}again: python -m tests.fuzz --only {one.target} --seed {given.seed} --at {one.number}")
    total = sum(tried.inputs for tried in found.values())
    failed = sum(tried.failed for tried in found.values())
    print(f"{total:,} inputs of {len(found)} targets, {failed} failed, {time.monotonic() - began:.0f} s")
    if given.save is not None:
        given.save.write_text(
            json.dumps(summary(found, given.seed, given.count, time.monotonic() - began), indent=1) + "\n"
        )
    return 1 if failed else 0


def _bounded(text: str) -> str:
    return text if len(text) <= HEX_SHOWN else f"{text[:HEX_SHOWN]}… ({len(text) // 2:,} bytes; all of it with --at)"


def row(name: str, tried: Tried) -> str:
    """Return a line of the table."""
    ends = ", ".join(f"{word} {_share(count, tried.inputs)}" for word, count in tried.outcomes.most_common(6))
    each = tried.cpu_seconds / max(1, tried.inputs) * 1e6
    failed = f"  FAILED {tried.failed}" if tried.failed else ""
    return f"{name:<22} {tried.inputs:>10,} {each:>8,.0f} {tried.slowest_seconds * 1e3:>6,.0f} ms  {ends}{failed}"


def _share(count: int, total: int) -> str:
    share = 100 * count / total
    return f"{share:.0f} %" if share >= 1 else f"{count}"


def again(targets: Sequence[Target], seed: int, number: int) -> int:
    """Try one input again, and tell everything."""
    for target in targets:
        first = number // target.chunk * target.chunk
        *_, (_, given) = pool.inputs(target, seed, first, number - first + 1)
        print(f"{target.name} {number}: {given!r}".encode(errors="backslashreplace").decode())
        try:
            print(target.check(given))
        except Exception:  # noqa: BLE001 whatever it is, it is shown
            traceback.print_exc()
            return 1
    return 0


def summary(found: Mapping[str, Tried], seed: int, count: int, seconds: float) -> dict[str, Any]:
    """Return what is kept of a run, as JSON."""
    return {
        "what": "python -m tests.fuzz: hostile inputs for everything that reads what strangers send",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        "seed": seed,
        "count": count,
        "seconds": round(seconds),
        "inputs": sum(tried.inputs for tried in found.values()),
        "failed": sum(tried.failed for tried in found.values()),
        "targets": {
            name: {
                "inputs": tried.inputs,
                "failed": tried.failed,
                "cpu_seconds": round(tried.cpu_seconds, 1),
                "slowest_ms": round(tried.slowest_seconds * 1e3, 1),
                "outcomes": dict(tried.outcomes.most_common()),
                **({"failures": [asdict(one) for one in tried.failures]} if tried.failures else {}),
            }
            for name, tried in found.items()
        },
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs of each target (1,000,000)")
    parser.add_argument("--seed", type=int, default=1, help="other inputs with another one (1)")
    parser.add_argument(
        "--only", type=_names, default=list(TARGETS), metavar="TARGET,…", help=f"of {', '.join(TARGETS)}"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="as many as there are cores")
    parser.add_argument("--at", type=int, help="try this one input alone, and tell everything")
    parser.add_argument("--save", type=Path, help="write the summary as JSON")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    """Names of targets, and beginnings of names."""
    found = [name for name in TARGETS if any(name == one or name.startswith(f"{one}-") for one in text.split(","))]
    if not found:
        raise argparse.ArgumentTypeError(f"there is no {text!r}; there are {', '.join(TARGETS)}")
    return found


if __name__ == "__main__":
    sys.exit(main())
