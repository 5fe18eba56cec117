"""Strikes at named crash points: starts the worker that will kill itself there, and knows which were reached."""

import time
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.e2e import struck
from tests.e2e.crashpoints import POINTS, Needs
from tests.e2e.load import Load
from tests.e2e.service import Service, Worker

DEATH: Final = "deliver: before"
"""Where a worker dies whose next owner has something to deliver again."""
_SETTINGS: Final[Mapping[Needs, Mapping[str, str]]] = {
    Needs.COLD: {"worker_suspended": "1"},
    Needs.CLAIMS: {"worker_refence_hours": str(1.0 / 3600)},
}
KILLED: Final = -9
SNAPSHOT_SECONDS: Final = "2"
BULK_SECONDS: Final = 1.0


class Slot:
    """The workers of one name, each started when the one before has ended, some with a point to end at."""

    def __init__(self, service: Service, name: str, load: Load) -> None:
        self._service, self.name, self._load = service, name, load
        self._plan: deque[tuple[str, int]] = deque()
        """Points and passages that are still to be reached, in this order."""
        self._armed: str | None = None
        self._next = 0.0
        self._served = False
        self.worker: Worker

    def start(self) -> None:
        """Start a worker, which ends at the first of the points that are aimed at."""
        point, passage = self._plan[0] if self._plan else (None, 0)
        needs = Needs.NOTHING if point is None else POINTS[point].needs
        settings: dict[str, Any] = dict(_SETTINGS.get(needs, {}))
        environment = {struck.SNAPSHOTS: SNAPSHOT_SECONDS}
        if needs is Needs.FOLDER:
            settings["worker_data"] = str(self._service.folder / f"data-{self.name}")
        if point is not None:
            environment |= struck.environment(point, passage, _note(self._service))
        self._armed, self._served = point, False
        self.worker = self._service.start(self.name, struck=environment, **settings)

    def aim(self, point: str, passage: int | None = None) -> None:
        """Have one of the next workers end at `point`."""
        if POINTS[point].needs is Needs.DEATH:
            self._plan.append((DEATH, POINTS[DEATH].passage))
        self._plan.append((point, POINTS[point].passage if passage is None else passage))

    def give_up(self) -> None:
        """Aim at nothing any more."""
        self._plan.clear()

    @property
    def aiming(self) -> bool:
        return bool(self._plan)

    @property
    def waits_for_member(self) -> bool:
        """Whether the worker serves, and will end when the group changes."""
        return self._served and self._armed is not None and POINTS[self._armed].needs is Needs.MEMBER

    def supervise(self) -> int | None:
        """Start another worker where this one has ended; return how, None while it goes on."""
        worker = self.worker
        if worker.alive:
            if not self._served:
                self._served = worker.serves
            elif self._armed is not None and POINTS[self._armed].needs is Needs.BULK and time.monotonic() > self._next:
                self._next = time.monotonic() + BULK_SECONDS  # it may be the other worker's
                self._load.send("bulky")
            return None
        code = worker.ended(1.0)
        if self._plan and (self._plan[0][0], worker.pid) in noted(self._service):
            self._plan.popleft()
        self.start()
        return code


class Members:
    """Workers that join beside those of the slots, so that the group changes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._number = 0
        self._there: list[Worker] = []

    def join(self) -> None:
        """Have another worker join, unless one is about to."""
        if self._there and not self._there[-1].serves:
            return
        self._number += 1
        self._there.append(self._service.start(f"x{self._number}", struck={}))

    def end(self) -> None:
        """End those that joined; the group has their partitions again when their sessions are over."""
        for worker in self._there:
            worker.kill()
        self._there.clear()


def noted(service: Service) -> list[tuple[str, int]]:
    """Return the points that were reached, with the processes that ended there."""
    note = _note(service)
    lines = (line.split("\t") for line in note.read_text().splitlines()) if note.exists() else ()
    return [(point, int(process)) for point, _, process in lines]


def reached(service: Service) -> Counter[str]:
    """Return how often each point was reached."""
    return Counter(point for point, _ in noted(service))


def _note(service: Service) -> Path:
    return service.folder / "struck.tsv"
