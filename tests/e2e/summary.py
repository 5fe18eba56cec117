"""What a run of chaos came to: as JSON to be kept, and as a table to be read."""

import os
import platform
import statistics
import subprocess
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from app.kafka.embedded.jars import load_lock
from tests.e2e.crashpoints import POINTS
from tests.e2e.diary import Account
from tests.e2e.tally import Facts, Verdict


@dataclass(frozen=True, kw_only=True)
class Blow:
    """One kill or freeze."""

    kind: str
    at_seconds: float
    frozen_seconds: float
    """How long a process was frozen, or the broker not there: no share of ours."""
    silent_seconds: float
    """Longest time until the next one that any partition was without a result."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was found at the end."""

    verdict: Verdict
    facts: Facts
    account: Account
    wrong_dead_letters: int
    reached: Counter[str]
    """How often a worker was killed at each point."""
    missed: Counter[str]
    """How often one was to be killed at a point, and did not come there."""
    kills: int
    """Of workers and of the broker, everywhere."""

    @property
    def unreached(self) -> list[str]:
        """Points that were aimed at and never reached; of many kills, all that were not reached."""
        many = sum(self.reached.values()) >= 2 * len(POINTS)
        return [one for one in POINTS if not self.reached[one] and (many or self.missed[one])]

    @property
    def right(self) -> bool:
        facts = self.facts
        nothing = not (facts.open or facts.stuck or facts.twice or self.wrong_dead_letters or self.unreached)
        return nothing and self.verdict.right and self.account.right


def summary(about: dict[str, Any], blows: Sequence[Blow], outcome: Outcome) -> dict[str, Any]:
    """Return what is kept of a run; `about` says how it was made."""
    verdict, facts, account = outcome.verdict, outcome.facts, outcome.account
    by_kind: dict[str, list[Blow]] = defaultdict(list)
    for blow in blows:
        by_kind[blow.kind].append(blow)
    return {
        "what": "python -m tests.e2e.chaos: kills and freezes under load, two workers, one broker, 8 partitions",
        "machine": {"cpus": os.cpu_count(), "system": platform.system(), "python": platform.python_version()},
        "versions": {"headgate": version("headgate"), "kafka": load_lock().kafka},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        ).stdout.strip(),
        **about,
        "runs": verdict.results,
        "steps": account.steps,
        "waits": account.waits,
        "executions_of_steps": account.executions,
        "executions_again": {
            "after_it_was_journaled": len(account.again_after),
            "by_an_owner_that_had_lost_its_partition": account.again_by_lost,
            "before_it_was_journaled": account.again_before,
        },
        "lost": len(verdict.lost),
        "doubled": len(verdict.doubled) + len(verdict.repeated_runs),
        "of_no_event": len(verdict.strangers),
        "out_of_order": len(verdict.out_of_order),
        "ended_wrongly": len(verdict.wrong),
        "stuck": len(facts.open | facts.stuck.keys()),
        "told_twice": len(facts.twice),
        "changed_on_replay": len(account.changed),
        "wrong_dead_letters": outcome.wrong_dead_letters,
        "kills": outcome.kills,
        "kills_by_point": {point: outcome.reached[point] for point in POINTS},
        "points_missed": dict(outcome.missed),
        "points_unreached": outcome.unreached,
        "seconds_without_results": {
            kind: {
                "times": len(several),
                "median": round(statistics.median(one.silent_seconds for one in several), 2),
                "longest": round(max(one.silent_seconds for one in several), 2),
                "longest_beyond_the_freeze": round(max(one.silent_seconds - one.frozen_seconds for one in several), 2),
            }
            for kind, several in sorted(by_kind.items())
        },
        "blows": [asdict(blow) for blow in blows],
    }


def show(summary: dict[str, Any], console: Console) -> None:
    """Print a summary."""
    table = Table(title=f"seed {summary['seed']}: {summary['kills']} kills in {summary['seconds']} s")
    for name in ("what happened", "times", "median without results, s", "longest, s", "beyond the freeze, s"):
        table.add_column(name, justify="left" if name == "what happened" else "right")
    for kind, silent in summary["seconds_without_results"].items():
        figures = (silent["median"], silent["longest"], silent["longest_beyond_the_freeze"])
        table.add_row(kind, str(silent["times"]), *(f"{figure:.2f}" for figure in figures))
    console.print(table)
    points = Table(title="workers killed at", show_header=False)
    for point, times in summary["kills_by_point"].items():
        points.add_row(point, str(times))
    console.print(points)
    again = summary["executions_again"]
    console.print(
        f"{summary['events']} events (and {summary['copies_of_events']} copies), {summary['effects_expected']} effects "
        f"expected, {summary['runs']} runs, {summary['steps']} steps, {summary['waits']} waits, {summary['kills']} "
        f"kills: lost {summary['lost']}, doubled {summary['doubled']}, stuck {summary['stuck']}; steps run again after "
        f"they were journaled {again['after_it_was_journaled']} (by owners that had lost their partition "
        f"{again['by_an_owner_that_had_lost_its_partition']}; before they were journaled "
        f"{again['before_it_was_journaled']}), changed on replay {summary['changed_on_replay']}, told twice "
        f"{summary['told_twice']}, of no event {summary['of_no_event']}, out of order {summary['out_of_order']}, ended "
        f"wrongly {summary['ended_wrongly']}, wrong dead letters {summary['wrong_dead_letters']}, points never reached "
        f"{summary['points_unreached']}; workers that ended by themselves: {summary['exits_of_workers_not_killed']}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
