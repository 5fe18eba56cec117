"""A side of durable runs that runs: what the modes ask of it, whatever it is."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from benchmarks import plan, processes


class Kind(Enum):
    """What a run does, by the name of its logical topic."""

    ORDER = "order"
    WAIT = "wait"
    WAKE = "wake"
    TIMER = "timer"
    TIMEOUT = "timeout"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side. `in_flight` is what the closed loop keeps going: more made no more runs per second (measured)."""

    name: str
    title: str
    durability: str
    start: Callable[["Side", plan.Plan, str, Mapping[str, str]], "Running"] = field(repr=False)
    in_flight: int
    workers: int = 1
    needs: str = ""
    most_waiting: int = 1_000_000
    """More waiting runs than this are not asked of the side: each is a task and a poll in its process."""


class Running(ABC):
    """A side that runs."""

    times_out = False
    """Whether it has runs that wait for an event until a time is over."""

    def __init__(self, side: Side, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.side = side
        self.folder = folder
        self.diary = folder / "diary"
        self.diary.touch()
        self.diary.chmod(0o666)
        self._numbers = itertools.count(1)

    def fresh(self, letter: str) -> str:
        """Return a prefix for ids of runs that this side has not seen: to one that it knows it answers from memory."""
        return f"{letter}{next(self._numbers)}-"

    @abstractmethod
    def named(self) -> dict[str, int]:
        """Return the side's processes by name, the store's included."""

    @abstractmethod
    def workers(self) -> list[processes.Child]:
        """Return the processes that run the author's code."""

    @abstractmethod
    def target(self, kind: Kind, *, over: str = "") -> list[str]:
        """Return how the driver reaches runs of this kind."""

    @abstractmethod
    def kill_workers(self) -> None:
        """kill -9."""

    @abstractmethod
    def start_workers(self) -> None:
        """Start them, again or for the first time."""

    @abstractmethod
    def stop(self) -> None:
        """End everything and leave nothing behind."""

    def drive(self, how: str, run: str, kind: Kind, *options: str, over: str = "") -> processes.Child:
        """Start the driver."""
        command = processes.python("benchmarks.drive", how, "--run", run, "--topic", f"bench/{kind.value}")
        return processes.Child(
            f"drive-{run.strip('-')}", [*command, *self.target(kind, over=over), *options], cwd=self.folder, talks=True
        )
