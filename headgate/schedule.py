"""When a workflow starts by itself, as `@workflow(schedule=...)` says."""

from dataclasses import dataclass
from enum import StrEnum

from topics.cron import Cron, parse


class CatchUp(StrEnum):
    """What becomes of instants that passed while no worker ran the workflow."""

    SKIP = "skip"
    """Nothing."""
    ONCE = "once"
    """The latest of them starts a run, however many there are."""
    ALL = "all"
    """Each of them starts a run, the latest 1,000 at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as its author wrote it. Whoever has the workflow's code has had it read; others only pass it on."""

    cron: str
    timezone: str = "UTC"
    catch_up: CatchUp = CatchUp.ONCE

    def read(self) -> Cron:
        """Return what answers when it is due. Raises CronError."""
        return parse(self.cron, self.timezone)
