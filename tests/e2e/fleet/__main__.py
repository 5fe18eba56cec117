"""`make fleet`: processes of connectors under kill -9 every few seconds, frozen owners, a broker that goes away.

Sources of every kind whose peer is here, each under its own load. At the end every event of those that can be read
again, or that repeat what is not acknowledged, has exactly one result; or this ends with 1.

    python -m tests.e2e.fleet --minutes 8 --seed 7 --save benchmarks/results/fleet-7.json
"""

import argparse
import json
import logging
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from app.kafka.embedded import EmbeddedKafka
from tests.e2e.aside import Aside
from tests.e2e.fleet import roster
from tests.e2e.fleet.account import right, show, summary
from tests.e2e.fleet.blows import KINDS, Fleet, order
from tests.e2e.fleet.world import Place
from tests.e2e.service import Service
from tests.peers.programs import PEERS, free_port, pubsub_server, running


def _shared(stack: ExitStack, folder: Path, *, bootstrap: str, gateway_port: int) -> Place:
    """Start what several worlds share, as far as it is installed."""
    moto = pubsub = None
    if (PEERS / "bin/moto_server").exists():
        port = free_port()
        at = f"http://127.0.0.1:{port}"
        arguments = ["-H", "127.0.0.1", "-p", str(port)]
        moto = at
        stack.enter_context(running("moto_server", arguments, log=folder / "moto.log", at=f"{at}/moto-api/"))
    if (PEERS / "bin/pstest").exists():
        pubsub = stack.enter_context(pubsub_server())
    gateway = f"http://127.0.0.1:{gateway_port}"
    return Place(folder=folder / "worlds", bootstrap=bootstrap, gateway=gateway, moto=moto, pubsub=pubsub)


def run(options: argparse.Namespace, folder: Path, console: Console) -> dict[str, Any]:
    """Return the summary of a run."""
    chance = random.Random(options.seed)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:6.1f} s  {text}", highlight=False, markup=False, soft_wrap=True)

    with ExitStack() as stack:
        kafka = stack.enter_context(EmbeddedKafka(folder / "kafka"))
        aside = stack.enter_context(Aside())
        port = free_port()
        place = _shared(stack, folder, bootstrap=kafka.bootstrap, gateway_port=port)
        kinds, absent = roster.wanted(options.only, place)
        worlds = {kind.id: aside.enter(kind(place)) for kind in kinds}
        service = stack.enter_context(Service(kafka, "fleet.", folder / "service"))
        fleet = Fleet(service, aside, worlds, chance, gateway_port=port, load=options.load, say=say)
        fleet.begin()
        say(f"{len(worlds)} sources are connected; absent: {absent or 'none'}")
        began = time.monotonic()
        away_at = began + options.minutes * 30 if options.away else None
        blows: list[str] = []
        while time.monotonic() - began < options.minutes * 60:
            if away_at is not None and time.monotonic() > away_at:
                away_at = None
                fleet.take_broker_away(options.away)
            blows = blows or order(chance, options.blows)
            what = blows.pop()
            fleet.strike(what)
            say(f"{len(fleet.blows):3} {what}")
        say("waiting for the last results")
        seconds = round(time.monotonic() - began)
        fleet.finish()
        about = {"seed": options.seed, "seconds": seconds, "load": options.load, "broker_away_seconds": options.away}
        return summary(fleet, service, absent=absent, about=about)


def main() -> int:
    """Run for a time, print the counts, and return 1 if anything that was promised is broken."""
    parser = argparse.ArgumentParser(prog="make fleet", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(100_000))
    parser.add_argument("--away", type=float, default=60.0, help="seconds that the broker is away, once; 0: never")
    parser.add_argument("--load", type=float, default=1.0, help="times the rate that each source has by itself")
    parser.add_argument("--only", nargs="+", choices=roster.IDS, default=roster.IDS, metavar="ID", help="these sources")
    parser.add_argument("--blows", nargs="+", choices=KINDS, default=tuple(KINDS), metavar="BLOW", help="these blows")
    parser.add_argument("--save", type=Path, help="file for the counts as JSON")
    parser.add_argument("--folder", type=Path, help="for data and logs, kept (default: temporary)")
    options = parser.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=160)
    for name in ("websockets", "aiohttp.server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their clients are killed
    console.print(f"seed {options.seed}: --seed {options.seed} chooses the same blows", highlight=False)
    with tempfile.TemporaryDirectory(prefix="headgate-fleet-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(options, folder, console)
    show(found, console)
    if options.save:
        options.save.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if right(found) else 1


if __name__ == "__main__":
    sys.exit(main())
