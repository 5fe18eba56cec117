"""Entry: `python -m benchmarks [MODE…] [--quick] [--rounds N] [--sides NAME,…]`; `report` writes docs/benchmarks.md."""

import argparse
import compileall
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks import (
    bounds,
    broker,
    calls,
    catalog,
    connectors,
    dedup,
    durable,
    durable_sides,
    first,
    gateway,
    idle,
    journal,
    latency,
    machine,
    pace,
    plan,
    processes,
    report,
    restart,
    rounds,
    scaling,
    throughput,
    timers,
    waiting,
)

MODES = {
    "throughput": throughput.run,
    "latency": latency.run,
    "gateway": gateway.run,
    "first": first.run,
    "idle": idle.run,
    "bounds": bounds.run,
    "scaling": scaling.run,
    "dedup": dedup.run,
    "restart": restart.run,
    "durable": durable.run,
    "waiting": waiting.run,
    "timers": timers.run,
    "calls": calls.run,
    "journal": journal.run,
    "connectors": connectors.run,
}
DURABLE = ("durable", "waiting", "timers", "calls", "journal")
RESULTS = processes.ROOT / "benchmarks" / "results"


def main() -> int:
    """Run the modes that the command line names."""
    given = _arguments()
    if given.modes == ["report"]:
        rounds.say(f"wrote {report.write(given.out or RESULTS)}")
        return 0
    modes = list(MODES) if "all" in given.modes else given.modes
    if "throughput" in modes or "latency" in modes:
        _lay_down()
    needed = {durable_sides.SIDES[name].needs for name in given.durable_sides} - {""}
    if needed and not {*DURABLE}.isdisjoint(modes):
        _lay_down("durable", *sorted(needed))
    for room in ("app", "connectors", "headgate", "topics"):  # as packages of peers are when pip has installed them
        compileall.compile_dir(processes.ROOT / room, quiet=1)
    out = given.out or (Path(tempfile.gettempdir()) / "headgate-bench" if given.quick else RESULTS)
    out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of what ends the children
    with (
        tempfile.TemporaryDirectory(prefix="headgate-bench-", ignore_cleanup_errors=True) as folder,
        broker.running(given.kafka, given.kafka_port) as node,
    ):
        asked = plan.Plan(
            broker=node,
            folder=Path(folder),
            sides=tuple(catalog.SIDES[name] for name in given.sides),
            rounds=given.rounds or (1 if given.quick else 5),
            quick=given.quick,
            workers_by_side=given.workers,
            events_by_side=given.events,
            durable_sides=tuple(given.durable_sides),
            kinds=tuple(given.kinds),
            waiting=given.waiting,
        )
        kept = processes.children()
        try:
            _measure(modes, asked, out)
        except processes.SideDied as error:
            rounds.say(f"benchmark stopped: {error}")
            return 1
        finally:
            processes.end(processes.children() - kept)
    return 0


def _lay_down(*peers: str) -> None:
    done = subprocess.run([processes.ROOT / "benchmarks" / "setup_peers.sh", *peers], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)  # it has said why


def _measure(modes: list[str], asked: plan.Plan, out: Path) -> None:
    facts = machine.facts(asked.broker)
    if not asked.quick:
        facts["load_average"] = processes.wait_until_free(load=0.5, limit_seconds=120)
        if facts["load_average"] > 0.5:
            rounds.say(f"the machine is busy (load average {facts['load_average']:.1f}): figures will be too low")
    rounds.warm_broker(asked.stage(catalog.NONE, "warm"), seconds=1.0 if asked.quick else 5.0)
    for mode in modes:
        rounds.say(f"{mode}:")
        before, ticks = pace.measure(), pace.ticks()
        figures = {"mode": mode, "quick": asked.quick, "machine": facts, **MODES[mode](asked)}
        stolen = pace.stolen_percent(ticks)
        figures["pace"] = {"before": before, "after": pace.measure(), "stolen_percent": stolen}
        path = out / f"{mode}.json"
        path.write_text(json.dumps(figures, indent=1) + "\n")
        rounds.say(f"  {path}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "modes", nargs="*", default=["throughput"], metavar="MODE", help=f"{', '.join(MODES)}, all, report"
    )
    parser.add_argument("--quick", action="store_true", help="one small round: does it run at all?")
    parser.add_argument("--rounds", type=int, help="how often each side runs, interleaved (5; quick: 1)")
    parser.add_argument(
        "--sides",
        type=_sides,
        default=[one.name for one in catalog.SIDES.values() if one.by_default],
        help=f"of {', '.join(catalog.SIDES)}",
    )
    parser.add_argument(
        "--durable-sides",
        type=_durable_sides,
        default=list(durable_sides.SIDES),
        metavar="SIDES",
        help=f"for {', '.join(DURABLE)}: of {', '.join(durable_sides.SIDES)}",
    )
    parser.add_argument(
        "--kinds", type=_kinds, default=[], help=f"for connectors: of {', '.join(connectors.NAMES)} (all of them)"
    )
    parser.add_argument("--workers", type=_numbers, default={}, help="worker processes by side, e.g. headgate=2,quix=2")
    parser.add_argument("--events", type=_numbers, default={}, help="events by side, e.g. headgate=100000")
    parser.add_argument("--waiting", type=int, metavar="N", help="how many runs wait (1000000; quick: 20000)")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already (default: an embedded one)")
    parser.add_argument("--kafka-port", type=int, help="port of the embedded broker (default: a free one)")
    parser.add_argument("--out", type=Path, help="folder of the results (benchmarks/results; quick: a temporary one)")
    given = parser.parse_args()
    unknown = [mode for mode in given.modes if mode not in (*MODES, "all", "report")]
    if unknown:
        parser.error(f"unknown mode {unknown[0]!r}; there are {', '.join(MODES)}, all and report")
    return given


def _sides(text: str, known: Iterable[str] = catalog.SIDES, what: str = "side") -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"unknown {what} {name!r}; there are {', '.join(known)}")
    return names


def _durable_sides(text: str) -> list[str]:
    return _sides(text, durable_sides.SIDES)


def _kinds(text: str) -> list[str]:
    return _sides(text, connectors.NAMES, "kind")


def _numbers(text: str) -> dict[str, int]:
    pairs: dict[str, Any] = dict(part.split("=", 1) for part in text.split(","))
    return {name: int(pairs[name]) for name in _sides(",".join(pairs), catalog.SIDES | durable_sides.SIDES)}


if __name__ == "__main__":
    sys.exit(main())
