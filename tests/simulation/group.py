"""The group coordinator: who is a member, sessions that expire, and assignments by generation (eager rebalances)."""

from dataclasses import dataclass, field
from random import Random

from app.kafka.memory_cluster import Unanswered
from tests.simulation.loop import Process, SimLoop

SESSION_SECONDS = 1.0
REBALANCE_SECONDS = 1.5
TICK_SECONDS = 0.2


@dataclass(slots=True)
class _Member:
    instance: str
    seen: float
    joining: bool = True
    assigned: frozenset[int] = field(default_factory=frozenset)


class Group:
    """Members by their ids, each of a worker's life. With `static`, an instance that comes back takes its old place."""

    def __init__(self, loop: SimLoop, process: Process, random: Random, partitions: int, *, static: bool) -> None:
        self._loop = loop
        self._process = process
        self._random = random
        self._partitions = partitions
        self._static = static
        self._members: dict[str, _Member] = {}
        self._deadline: float | None = None
        self.generation = 0
        self._tick()

    def _tick(self) -> None:
        now = self._loop.time()
        gone = [name for name, one in self._members.items() if now - one.seen > SESSION_SECONDS]
        for name in gone:
            del self._members[name]
        if gone:
            self._prepare()
        self._complete()
        self._loop.call_at_in(self._process, now + TICK_SECONDS, self._tick)

    def join(self, member: str, instance: str) -> None:
        """Ask to be in the next generation. A member that is known already joins again."""
        now = self._loop.time()
        known = self._members.get(member)
        if known is not None:
            known.seen, known.joining = now, True
            self._prepare()
            return
        twin = next((name for name, one in self._members.items() if one.instance == instance), None)
        if self._static and twin is not None:
            before = self._members.pop(twin)
            self._members[member] = _Member(instance, now, joining=before.joining, assigned=before.assigned)
            return  # a static member that comes back changes nothing for the others
        self._members[member] = _Member(instance, now)
        self._prepare()

    def leave(self, member: str) -> None:
        if self._members.pop(member, None) is not None:
            self._prepare()

    def heartbeat(self, member: str) -> int | None:
        """Return the generation that the member belongs to; None says: join again."""
        known = self._members.get(member)
        if known is None:
            return None
        known.seen = self._loop.time()
        return None if self._deadline is not None and not known.joining else self.generation

    def assignment(self, member: str) -> tuple[int, frozenset[int]] | None:
        """Return generation and partitions of a member that asked to join; None while the others are waited for."""
        known = self._members.get(member)
        if known is None:
            raise Unanswered("UnknownMemberId")
        known.seen = self._loop.time()
        return None if self._deadline is not None else (self.generation, known.assigned)

    def rebalance(self) -> None:
        """Let the group change for a reason of its own."""
        if self._members:
            self._prepare()

    def _prepare(self) -> None:
        if self._deadline is None and self._members:
            self._deadline = self._loop.time() + REBALANCE_SECONDS
        self._complete()

    def _complete(self) -> None:
        if self._deadline is None:
            return
        if not all(one.joining for one in self._members.values()):
            if self._loop.time() < self._deadline:
                return
            self._members = {name: one for name, one in self._members.items() if one.joining}
        self._deadline = None
        self.generation += 1
        names = sorted(self._members)
        if not names:
            return
        if self._random.random() < 0.5:
            names = self._random.sample(names, len(names))
        for at, name in enumerate(names):
            member = self._members[name]
            member.joining = False
            member.assigned = frozenset(range(at, self._partitions, len(names)))
