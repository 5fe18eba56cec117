"""Sources end to end: processes that are killed, frozen and edited, and a world outside whose events are counted."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from app.kafka.admin import Admin
from app.kafka.embedded import EmbeddedKafka
from app.settings import Settings
from app.wiring import sourcelist
from tests.e2e.aside import Aside
from tests.e2e.fleet import roster
from tests.e2e.fleet.blows import Fleet
from tests.e2e.fleet.world import Place
from tests.e2e.gathered import FLOW, Gathered
from tests.e2e.outside import Outside
from tests.e2e.service import Service
from tests.e2e.tally import Reader
from tests.e2e.waiting import until

SOURCES: Final = ("stream", "items")
"""Those that can be read again: nothing of them is lost."""
TAKEOVER_SECONDS: Final = 20.0
"""Twice what is promised, for machines that do much beside; far less than a session that is too long."""
FEW: Final = ("stream", "items", "clock", "entries", "socket-acks")
"""Sources of the short fleets; `make fleet` has all."""


@pytest.fixture
def outside() -> Iterator[Outside]:
    with Outside() as outside:
        yield outside


def declare(folder: Path, outside: Outside, name: str = "sources.yaml") -> Path:
    """Write the file of sources."""
    reconnect = {"base_seconds": 0.2, "max_seconds": 1, "failed_seconds": 2}
    sources = [
        {
            "id": "stream",
            "kind": "http-stream",
            "options": {"url": f"{outside.url}/stream"},
            "reconnect": dict(reconnect),
        },
        {
            "id": "items",
            "kind": "poll",
            "options": {
                "interval": "200ms",
                "rest": {
                    "url": f"{outside.url}/items",
                    "id": "id",
                    "cursor": {"by": "id", "field": "id", "parameter": "after"},
                },
            },
            "reconnect": dict(reconnect),
        },
        {"id": "clock", "kind": "cron", "options": {"schedule": "1s", "misfire": "all"}, "reconnect": dict(reconnect)},
    ]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(yaml.safe_dump({"sources": sources}))
    return file


def states(service: Service) -> dict[str, dict[str, Any]]:
    settings: Settings = service.settings
    found = sourcelist.listed(settings.kafka, Admin.connect(settings.kafka))
    return {name: one.record() for name, one in found.items()}


@contextmanager
def fleet_on(service: Service, folder: Path, *, seed: int) -> Iterator[Fleet]:
    """A fleet of few sources whose peers are everywhere, or are left out."""
    place = Place(folder=folder / "worlds", bootstrap=service.bootstrap)
    with Aside() as aside:
        kinds, _ = roster.wanted(FEW, place)
        worlds = {kind.id: aside.enter(kind(place)) for kind in kinds}
        fleet = Fleet(service, aside, worlds, random.Random(seed))
        fleet.begin()
        yield fleet


def test_killed_and_frozen_processes_lose_and_double_nothing(service: Service, tmp_path: Path) -> None:
    with fleet_on(service, tmp_path, seed=5) as fleet:
        for _ in range(3):
            fleet.kill()
        fleet.freeze()
        fleet.kill()

        fleet.finish()

        assert {} == {name: missing for name in fleet.worlds if (missing := fleet.missing(name))}
        assert {} == {name: doubled for name in fleet.worlds if (doubled := fleet.told.doubled(name))}
        assert ({}, []) == (fleet.exits, fleet.told.wrong)
        assert fleet.worlds["stream"].happened > 100


def test_a_process_that_dies_alone_is_missed_by_the_other_one_within_its_session(
    service: Service, tmp_path: Path
) -> None:
    """With the defaults of sessions and rebalances, and no process that comes: nothing but its silence tells."""
    file = tmp_path / "sources.yaml"
    sources = [{"id": f"clock-{number}", "kind": "cron", "options": {"schedule": "1s"}} for number in range(8)]
    file.write_text(json.dumps({"sources": sources}))
    members = {name: service.connectors(name, file) for name in ("c0", "c1")}

    def owners() -> dict[str, set[str]]:
        found: dict[str, set[str]] = {name: set() for name in members}
        for name, one in states(service).items():
            if one["state"] == "connected" and one.get("owner") in members:
                found[one["owner"]].add(name)
        return found

    def both_own() -> bool:
        return all(owners().values()) and sum(map(len, owners().values())) == len(sources)

    until(both_own, 60, "each of them has some", else_show=service.tails)
    others = Reader(service, "events", service.partitions)
    died, names = max(owners().items(), key=lambda one: len(one[1]))
    others.read_all()
    members[died].kill()
    at = datetime.now(UTC)
    missing = set(names)

    def all_there() -> bool:
        for message in others.read_on():
            event = json.loads(message.value())
            if datetime.fromisoformat(event["data"]["scheduledAt"]) > at:
                missing.discard(event["topic"].partition("/")[0])
        return not missing

    until(all_there, TAKEOVER_SECONDS, "what happened since is there", else_show=lambda: f"{missing} {service.tails()}")
    until(lambda: died not in {one.get("owner") for one in states(service).values()}, 10, "the status says whose it is")


def test_a_broker_that_is_away_holds_sources_up_and_loses_nothing(own_kafka: Any, tmp_path: Path) -> None:
    kafka: EmbeddedKafka = own_kafka()
    kafka.start()
    with (
        Service(kafka, "away.", tmp_path / "service") as service,
        fleet_on(service, tmp_path, seed=6) as fleet,
    ):
        fleet.take_broker_away(8.0)

        fleet.finish()

        assert {} == {name: missing for name in fleet.worlds if (missing := fleet.missing(name))}
        assert {} == {name: doubled for name in fleet.worlds if (doubled := fleet.told.doubled(name))}
        assert ({}, []) == (fleet.exits, fleet.told.wrong)


def test_a_file_is_followed_while_it_runs(service: Service, outside: Outside, tmp_path: Path) -> None:
    service.start("w0", flows=FLOW).ready()
    file = declare(tmp_path, outside)
    service.connectors("c0", file).ready()
    gathered = Gathered(service)
    gathered.has("stream", range(1, 20), 60)

    document = yaml.safe_load(file.read_text())
    document["sources"][0] |= {"topic": "copy/{{ type }}", "filter": {"data.n": {"gt": 50}}}
    del document["sources"][2]
    file.write_text(json.dumps(document))

    until(lambda: "copy" in gathered.read_on(), 60, "the changed source publishes elsewhere")
    until(lambda: "clock" not in states(service), 30, "the removed source is gone")
    file.write_text("sources: [")  # a mistake changes nothing
    count = outside.hold()
    until(
        lambda: set(range(51, count + 1)) <= set().union(*gathered.read_on().values()),
        60,
        "every event passed one or the other",
    )
    assert {"stream", "items"} == states(service).keys()


def test_credentials_that_are_taken_and_given_back_lose_nothing(
    service: Service, outside: Outside, tmp_path: Path
) -> None:
    service.start("w0", flows=FLOW).ready()
    service.connectors("c0", declare(tmp_path, outside)).ready()
    gathered = Gathered(service)
    gathered.has("stream", range(1, 20), 60)

    outside.authorized = False
    until(
        lambda: {states(service)[name]["state"] for name in SOURCES} == {"failed"},
        60,
        "they have failed, and say so",
        else_show=lambda: str(states(service)),
    )
    assert "401" in states(service)["stream"]["error"]["message"]
    outside.authorized = True

    count = outside.count() + 20
    until(lambda: outside.count() >= count, 30, "more events")
    count = outside.hold()
    for source in SOURCES:
        gathered.has(source, range(1, count + 1), 60)
        assert gathered.doubled(source) == {}
    assert {"connected"} == {states(service)[name]["state"] for name in SOURCES}


def test_a_clean_stop_leaves_nothing_behind(service: Service, outside: Outside, tmp_path: Path) -> None:
    file = declare(tmp_path, outside)
    first = service.connectors("c0", file).ready()
    until(lambda: states(service).get("stream", {}).get("state") == "connected", 30, "it is connected")

    assert first.stop() == 0, first.tail()
    second = service.connectors("c1", file).ready(20)
    until(lambda: states(service)["stream"].get("owner") == "c1", 30, "another has it without waiting for a session")
    assert second.stop() == 0


def test_a_run_sets_up_uses_and_ends_sources(service: Service, outside: Outside, tmp_path: Path) -> None:
    worker = service.start("w0", flows=Path(__file__).parent / "sourceflows.py").ready()
    service.connectors("c0").ready()
    gateway = service.gateway().ready()
    body = {"name": "watch", "payload": {"url": f"{outside.url}/stream"}}
    assert gateway.post(json.dumps(body).encode())[0] == 202

    reader = Reader(service, "results", service.partitions)
    results: dict[str, Any] = {}

    def both() -> bool:
        for message in reader.read_on():
            value = json.loads(message.value())
            results[value["workflow_id"]] = value
        return len(results) == 2

    until(both, 90, "both runs have ended", else_show=service.tails)
    assert {"completed"} == {one["status"] for one in results.values()}, results
    watched = results["watches"]["result"]
    assert list(range(1, 21)) == watched["numbers"]
    assert "connected" == watched["source"]["status"]
    assert "nothing can be sent" in watched["refused"]
    assert watched["source"]["id"] == watched["shown"]["sources"][0]["id"]
    assert "failed" == results["watches_plainly"]["result"]["status"]
    until(lambda: states(service) == {}, 30, "no source is left")
    assert worker.stop() == 0
