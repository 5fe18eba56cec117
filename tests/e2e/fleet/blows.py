"""Processes of connectors that are struck again and again, and all that may befall them and what they read."""

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.kafka.admin import Admin
from app.wiring import sourcelist
from tests.e2e.aside import Aside
from tests.e2e.fleet.load import Load
from tests.e2e.fleet.told import TOPIC, Told
from tests.e2e.fleet.world import World
from tests.e2e.service import Connectors, Gateway, Process, Service, Worker
from tests.e2e.waiting import until
from topics.sources import State

FLOW: Final = Path(__file__).with_name("flow.py")
RECOVERY_SECONDS: Final = 90.0
FROZEN_SECONDS: Final = 10.0
"""More than the session of 6 s."""
OVERLAP: Final = 0.4
"""Share of the kills of one process after which the next blow does not wait until its sources have gone on."""
KILLED: Final = "connectors killed"
"""kill -9 of one of the two processes."""
NO_BROKER: Final = 3
"""With what a worker ends that has something to write, and no broker to write it to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blow:
    """One of them: what it was, when, in seconds since 1970, and whose owner was struck."""

    what: str
    at: float
    sources: tuple[str, ...]

    @property
    def holds_up(self) -> bool:
        """Whether a takeover that goes on has to begin anew, or to wait."""
        return self.what in HOLD_UP


class Fleet:
    """Two processes of connectors, a gateway and a worker, each replaced when it ends, as a supervisor would."""

    def __init__(
        self,
        service: Service,
        aside: Aside,
        worlds: Mapping[str, World],
        chance: random.Random,
        *,
        gateway_port: int = 0,
        load: float = 1.0,
        say: Callable[[str], None] = print,
    ) -> None:
        self._service, self._aside, self.worlds, self._chance, self._say = service, aside, worlds, chance, say
        self._port = gateway_port
        self._topics = {name: f"{TOPIC}/{name}" for name in worlds}
        self._file = service.folder / "sources" / "sources.yaml"
        self._secrets = service.folder / "secrets"
        self._edits = 0
        self._names = 0
        self._write()
        self.load, self.told = Load(aside, list(worlds.values()), times=load), Told(service, worlds)
        self.blows: list[Blow] = []
        self.exits: Counter[str] = Counter()
        """Exit codes of processes that ended by themselves."""
        self.without_broker: Counter[str] = Counter()
        """Those of workers that had something to write while the broker was away: they end with 3, and say so."""
        self._is_away = False
        self._worker = self._started_worker()
        self._gateway = self._started_gateway() if any(not one.is_listed for one in worlds.values()) else None
        self.members = [self._started(), self._started()]

    # ---- the processes ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Return once all sources are connected and have told an event."""
        self._worker.ready()
        if self._gateway is not None:
            self._gateway.ready()
        listed = {name for name, one in self.worlds.items() if one.is_listed}
        self._comes(
            lambda: {name for name, one in self.states().items() if one["state"] == "connected"} >= listed,
            "all sources are connected",
            lambda: str({name: (one["state"], one.get("error")) for name, one in self.states().items()}),
        )
        self.load.start()
        self.gone_on(time.time(), self.worlds)

    def _started(self) -> Connectors:
        """Start one, under a name that none had before."""
        self._names += 1
        return self._service.connectors(f"c{self._names}", self._file, connectors_secrets=str(self._secrets))

    def _started_worker(self) -> Worker:
        return self._service.start("w0", flows=FLOW)

    def _started_gateway(self) -> Gateway:
        return self._service.gateway(self._port, connectors_secrets=str(self._secrets))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and read results."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._watch()

    def _watch(self) -> None:
        self.told.read_on()
        self.load.check()
        for number, member in enumerate(self.members):
            if self._ended(member):
                self.members[number] = self._started()
        if not (self._is_away and not self._worker.alive) and self._ended(self._worker):
            self._worker = self._started_worker()
        if self._gateway is not None and self._ended(self._gateway):
            self._gateway = self._started_gateway()

    def _ended(self, process: Process) -> bool:
        if process.alive:
            return False
        code = process.ended(1.0)
        self.exits[f"{process.name}: {code}"] += 1
        self._say(f"{process.name} ended by itself\n{process.tail()}")
        return True

    def _comes(self, found: Callable[[], Any], what: str, show: Callable[[], str], seconds: float = 90.0) -> None:
        def there() -> Any:
            self._watch()
            return found()

        until(there, seconds, what, else_show=lambda: f"{show()}\n{self.tails()}")

    def tails(self) -> str:
        there: list[Process] = [*self.members, self._worker]
        return "\n".join(one.tail() for one in there)

    def logged(self, event: str) -> int:
        """Return how often processes of connectors have said something."""
        return sum(len(one.events(event)) for one in self._service.processes if isinstance(one, Connectors))

    def states(self) -> dict[str, dict[str, Any]]:
        """Return how all sources are, as their owners said last."""
        settings = self._service.settings.kafka
        return {name: one.record() for name, one in sourcelist.listed(settings, Admin.connect(settings)).items()}

    def gone_on(self, since: float, names: Collection[str]) -> None:
        """Return once events have results that happened after `since`, of all these sources but the slow ones."""
        prompt = [name for name in names if self.worlds[name].is_prompt]

        def missing() -> list[str]:
            return [name for name in prompt if self.told.newest[name] < since]

        def show() -> str:
            return f"missing {missing()}: {[(name, self.states().get(name)) for name in missing()]}"

        self._comes(lambda: not missing(), "sources go on", show, RECOVERY_SECONDS)

    # ---- the blows -------------------------------------------------------------------------------------------------

    def strike(self, what: str) -> None:
        """Deal one blow, by its name in KINDS, and return once what was struck goes on."""
        KINDS[what](self)

    def _dealt(self, what: str, names: Collection[str]) -> float:
        blow = Blow(what=what, at=time.time(), sources=tuple(sorted(names)))
        self.blows.append(blow)
        return blow.at

    def _owned(self, members: Sequence[Process]) -> list[str]:
        owners = {member.name for member in members}
        return [name for name, one in self.states().items() if one.get("owner") in owners and name in self.worlds]

    def kill(self) -> None:
        """kill -9 of one; another starts at once."""
        number = self._chance.randrange(2)
        victim = self.members[number]
        names = self._owned([victim])
        victim.kill()
        at = self._dealt(KILLED, names)
        self.members[number] = self._started()
        if self._chance.random() < OVERLAP:
            self.pass_time(self._chance.uniform(1.0, 4.0))
        else:
            self.gone_on(at, names)
            self.pass_time(self._chance.uniform(0.0, 2.0))

    def kill_both(self) -> None:
        names = self._owned(self.members)
        for member in self.members:
            member.kill()
        at = self._dealt("both connectors killed", names)
        self.members = [self._started(), self._started()]
        self.gone_on(at, names)

    def kill_gateway(self) -> None:
        if self._gateway is None:
            return
        names = [name for name, one in self.worlds.items() if not one.is_listed]
        self._gateway.kill()
        at = self._dealt("gateway killed", names)
        self._gateway = self._started_gateway()
        self.gone_on(at, names)

    def freeze(self) -> None:
        """SIGSTOP past the session, then go on: the frozen one is refused, and joins again."""
        frozen = max(self.members, key=lambda one: len(self._owned([one])))
        names = self._owned([frozen])
        frozen.freeze()
        at = self._dealt("owner frozen past its session", names)
        self.pass_time(FROZEN_SECONDS)
        self.gone_on(at, names)
        frozen.go_on()
        self.gone_on(time.time(), self.worlds)

    def stop(self) -> None:
        """SIGTERM: it ends in order, and another has its sources without waiting for a session."""
        number = self._chance.randrange(2)
        stopped = self.members[number]
        names = self._owned([stopped])
        stopped.ask_to_stop()
        at = self._dealt("connectors stopped", names)
        code = stopped.ended(30.0)
        if code != 0:
            self.exits[f"{stopped.name}, asked to stop: {code}"] += 1
        self.members[number] = self._started()
        self.gone_on(at, names)

    def take_broker_away(self, seconds: float) -> None:
        """kill -9 of the broker, and a time without one. What the broker itself tells is not told meanwhile."""
        self.load.broker_goes()
        self._service.kafka.kill()
        self._say(f"the broker is away for {seconds:g} s")
        self._is_away = True
        self.pass_time(seconds)
        self._service.kafka.start()
        self._is_away = False
        if not self._worker.alive and (code := self._worker.ended(1.0)) == NO_BROKER:
            self.without_broker[f"{self._worker.name}: {code}"] += 1
            self._worker = self._started_worker()
        at = self._dealt("broker away", self.worlds)
        self.load.broker_is_back()
        self.gone_on(at, self.worlds)

    def revoke(self) -> None:
        """Take the credentials of one source until it says so, and give them back."""
        if not (names := [name for name, one in self.worlds.items() if one.can_revoke]):
            return
        name = self._chance.choice(names)
        self._say(f"credentials of {name} are revoked")
        self._aside.run(self.worlds[name].revoke())
        self._comes(
            lambda: self.states().get(name, {}).get("state") in (State.FAILED, State.BACKING_OFF),
            f"{name} says that it is not let in",
            lambda: str(self.states().get(name)),
        )
        self.pass_time(self._chance.uniform(0.0, 3.0))
        self._aside.run(self.worlds[name].restore())
        self.gone_on(self._dealt("credentials given back", [name]), [name])

    def edit(self) -> None:
        """Change some sources in their file; a mistake in it, before, changes nothing."""
        self._edits += 1
        prompt = [name for name, one in self.worlds.items() if one.is_prompt]
        names = self._chance.sample(prompt, min(3, len(prompt)))
        self._file.write_text("sources: [")
        self.pass_time(0.5)
        self._topics |= {name: f"{TOPIC}/{name}/edit-{self._edits}" for name in names}
        self._write()
        self._dealt("sources edited", names)
        self._comes(
            lambda: all(self.told.topics.get(name) == self._topics[name] for name in names),
            f"{names} are published as they are set up now",
            lambda: str(self.told.topics),
        )

    def _write(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._secrets.mkdir(exist_ok=True)
        sources = [one.declared(self._topics[name], self._secrets) for name, one in self.worlds.items()]
        being_written = self._file.with_suffix(".new")
        being_written.write_text(json.dumps({"sources": sources}))  # which is YAML too
        being_written.replace(self._file)

    # ---- the end ---------------------------------------------------------------------------------------------------

    def finish(self, seconds: float = RECOVERY_SECONDS) -> None:
        """Let no more happen, and read until nothing is missing, for so long at most; then stop everything in order."""
        self.load.hold()
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(self.missing(name) for name in self.worlds if self._is_demanded(name)):
            self._watch()
        self.pass_time(2.0)  # what is doubled may come late
        for process in [*self.members, *([] if self._gateway is None else [self._gateway])]:
            code = process.stop()
            if code != 0:
                self.exits[f"{process.name}, asked to stop: {code}"] += 1

    def _is_demanded(self, name: str) -> bool:
        return self.worlds[name].is_demanded

    def missing(self, name: str) -> set[int]:
        """Return the numbers of a source that have no result."""
        return self.worlds[name].missing(self.told.times[name].keys())


KINDS: Final[Mapping[str, Callable[[Fleet], None]]] = {
    KILLED: Fleet.kill,
    "both connectors killed": Fleet.kill_both,
    "gateway killed": Fleet.kill_gateway,
    "owner frozen past its session": Fleet.freeze,
    "connectors stopped": Fleet.stop,
    "credentials given back": Fleet.revoke,
    "sources edited": Fleet.edit,
}
HOLD_UP: Final = frozenset(
    {
        KILLED,
        "both connectors killed",
        "connectors stopped",
        "owner frozen past its session",
        "broker away",
    }
)
SHARES: Final[Mapping[str, int]] = {KILLED: 8, "gateway killed": 2, "credentials given back": 2}
"""How often each comes before any begins again; those that are not here come once."""


def order(chance: random.Random, only: Collection[str] = KINDS) -> list[str]:
    """Return the next blows, of these kinds."""
    kinds = [kind for kind in KINDS if kind in only for _ in range(SHARES.get(kind, 1))]
    return chance.sample(kinds, len(kinds))
