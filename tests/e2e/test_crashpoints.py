"""Workers killed with kill -9 at each named point, under a load of all kinds: nothing is lost, nothing done twice."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest

from app.kafka.embedded import EmbeddedKafka
from tests.e2e import diary, strikes
from tests.e2e.crashpoints import LEFT, POINTS, Moment, Needs
from tests.e2e.load import CAUSES, STEADY, Load
from tests.e2e.service import Service
from tests.e2e.strikes import DEATH, KILLED, Members, Slot
from tests.e2e.tally import Tally, facts_of
from tests.e2e.waiting import until

PER_SECOND: Final = 40.0
FIRST_RESULTS: Final = 100
STRUCK_SECONDS: Final = 60.0
SESSION_SECONDS: Final = "30"
"""Long, so that a busy machine takes no partition from a worker that lives; a killed one comes back under its name."""
ORDER: Final = sorted(POINTS, key=lambda name: POINTS[name].needs is Needs.MEMBER)
"""Those for which the group must change come last: they share changes."""


@dataclass
class Field:
    """Two workers, each of which is always about to end at a point; while one comes back, the other goes on."""

    service: Service
    load: Load
    tally: Tally
    slots: list[Slot]
    members: Members
    exits: list[str] = field(default_factory=list)

    def supervise(self) -> None:
        for slot in self.slots:
            code = slot.supervise()
            if code not in (None, KILLED):
                self.exits.append(f"{code}: {self.service.tails()[-1500:]}")
        self.tally.count()


@pytest.fixture(scope="module")
def struck(kafka: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    """The service of all tests of this module, under load."""
    folder = tmp_path_factory.mktemp("crashpoints")
    with (
        Service(kafka, "crashpoints.", folder, partitions=8, worker_session_timeout_seconds=SESSION_SECONDS) as service,
        Load(service) as load,
        Tally(service) as tally,
    ):
        slots = [Slot(service, name, load) for name in ("w0", "w1")]
        for slot in slots:
            slot.start()
        load.start(per_second=PER_SECOND)
        tally.at_least(FIRST_RESULTS)  # so that there is a journal to be read
        for number, point in enumerate(one for one in ORDER if one != DEATH):  # where others begin, which come to it
            slots[number % 2].aim(point)
        for slot in slots:
            slot.worker.kill()
        yield Field(service, load, tally, slots, Members(service))


@pytest.mark.parametrize("point", POINTS)
def test_each_point_is_in_the_code(point: str) -> None:
    named = POINTS[point]
    for place in (named.place, named.within, named.since, LEFT):
        if place is not None:
            assert callable(place.resolve()[2])
    if named.moment is Moment.SENT:
        assert not inspect.iscoroutinefunction(named.place.resolve()[2])


@pytest.mark.parametrize("point", ORDER)
def test_a_worker_is_killed(struck: Field, point: str) -> None:
    def there() -> bool:
        struck.supervise()
        waiting = [slot.waits_for_member for slot in struck.slots if slot.aiming]
        if waiting and all(waiting):
            struck.members.join()
        return strikes.reached(struck.service)[point] > 0

    until(there, STRUCK_SECONDS, f"a worker is killed at {point!r}", else_show=struck.service.tails)
    assert struck.exits == []


def test_after_all_of_that_nothing_is_lost_doubled_stuck_or_done_again(struck: Field) -> None:
    service, load, tally = struck.service, struck.load, struck.tally
    load.stop()

    def there() -> bool:
        struck.supervise()
        return load.expected <= tally.effects

    until(there, 60.0, "every event has its result", else_show=service.tails)
    tally.confirm(load)
    facts = facts_of(service)
    account = diary.read(service.diary, facts.ended)

    assert struck.exits == []
    assert (facts.open, facts.stuck, facts.twice) == (set(), {}, [])
    assert (account.again_after, account.changed) == ([], set())
    assert account.steps > 0
    assert account.waits > 0
    assert {workflow for workflow, _ in load.expected} >= {one for kind in STEADY for one in CAUSES[kind]}
