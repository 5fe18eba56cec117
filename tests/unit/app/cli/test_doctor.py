import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from app.cli import cluster, doctor, gatewayapi, workflows
from app.cli.doctor import Finding, command
from app.cli.gatewayapi import GatewayRefused, NoGateway
from app.cli.output import Mark
from app.kafka import provisioning
from app.kafka.admin import AdminError, Group, Member
from app.kafka.broker_version import BrokerVersion
from app.kafka.clients import KafkaUnreachable
from app.settings import Settings
from app.wiring import listening, sourcelist
from tests.unit.app.cli.conftest import FakeAdmin
from topics.sources import Spec

EVENTS = "headgate.events"
BOTH = {EVENTS: tuple(range(8)), "headgate.commands": tuple(range(8))}
WORKER = Member(instance_id="worker-0", client_id="c", host="/10.0.0.1", partitions=BOTH)


@pytest.fixture(autouse=True)
def _healthy(connected: object, admin: FakeAdmin, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation in which nothing is wrong."""
    admin.create(provisioning.wanted(settings.kafka))
    admin.workers = Group(name="headgate.worker", state="STABLE", members=(WORKER,), committed={})
    says(monkeypatch, {"w": {"id": "w"}, "old": {"retired_at": "x"}}, {"worker-0": {"w": "1"}})
    monkeypatch.setattr(gatewayapi.Gateway, "get", lambda *_: {})
    monkeypatch.setattr(sourcelist, "listed", lambda *_, **__: {})


def says(monkeypatch: pytest.MonkeyPatch, known: dict[str, dict[str, str]], loaded: dict[str, dict[str, str]]) -> None:
    """Let the topic say what workflows there are, and what each live worker has loaded."""
    workers = [listening.Worker(instance_id=name, workflows=one, silent_seconds=1) for name, one in loaded.items()]
    monkeypatch.setattr(workflows, "heard", lambda _cluster: listening.Heard(workflows=known, workers=workers))


def run() -> tuple[object, list[Finding]]:
    """The exit code, and every finding that is not ok."""
    result = CliRunner().invoke(command, ["--json"], standalone_mode=False, catch_exceptions=False)
    found = [
        Finding(mark=Mark(one["mark"]), check=one["check"], fact=one["fact"], remedy=one["remedy"])
        for one in orjson.loads(result.stdout)["findings"]
    ]
    return result.return_value, [one for one in found if one.mark is not Mark.OK]


def test_a_healthy_installation_is_told_line_by_line() -> None:
    result = CliRunner().invoke(command, [], standalone_mode=False, catch_exceptions=False)
    assert (result.return_value, result.stdout) == (
        0,
        (
            "ok    kafka      broker 1 at a:1 is Kafka 4.3\n"
            "ok    topics     all 11 topics are there with the right settings, 8 partitions\n"
            "ok    clock      this machine's clock agrees with Kafka's\n"
            "ok    workers    worker-0 from 10.0.0.1 has 8 of 8 partitions\n"
            "ok    workflows  1 announced: w\n"
            "ok    gateway    http://127.0.0.1:1 is ready\n"
        ),
    )


def one_finding(mark: Mark, check: str, fact: str) -> None:
    code, [found] = run()
    assert (code, found.mark, found.check, found.fact) == (1 if mark is Mark.FAIL else 0, mark, check, fact)
    assert found.remedy


def test_an_old_broker_fails(admin: FakeAdmin) -> None:
    admin.speaks = BrokerVersion(release="3.9", at_least_4_0=False)
    one_finding(Mark.FAIL, "kafka", "broker 1 at a:1 is Kafka 3.9")


def test_a_broker_that_does_not_answer_fails(admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_self: FakeAdmin, _broker: object) -> BrokerVersion:
        raise KafkaUnreachable("a:1", "broker 1 does not answer (timed out)", "Mend advertised.listeners")

    monkeypatch.setattr(FakeAdmin, "version", silent)
    one_finding(Mark.FAIL, "kafka", "broker 1 does not answer (timed out)")


@pytest.mark.parametrize(
    ("config", "mark", "fact"),
    [
        (
            {"auto.create.topics.enable": "true"},
            Mark.WARN,
            "broker 1 at a:1 creates a topic for every name that somebody mistypes",
        ),
        (
            {"group.min.session.timeout.ms": "10000"},
            Mark.FAIL,
            "broker 1 at a:1 refuses worker.session_timeout_seconds 6",
        ),
        (
            {"producer.id.expiration.ms": "3600000"},
            Mark.FAIL,
            (
                "broker 1 at a:1 forgets idle producers (producer.id.expiration.ms=3600000) "
                "before a worker renews its claim"
            ),
        ),
    ],
)
def test_settings_of_a_broker_that_hurt_are_found(
    admin: FakeAdmin, config: dict[str, str], mark: Mark, fact: str
) -> None:
    admin.config = config
    one_finding(mark, "kafka", fact)


def test_a_topic_of_others_that_runs_may_write_to_and_nobody_leads_is_found(
    admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.lost = {"replies": (0, 2), "unheard.of": (1,)}
    settings = Settings.load(
        {"gateway.url": "http://127.0.0.1:1", "replies.allowed_topics": ["replies"]}, dev=True, environ={}
    )
    monkeypatch.setattr(cluster, "connect", lambda: cluster.Cluster(admin=admin, settings=settings, development=False))  # type: ignore[arg-type]
    fact = "replies: nobody leads partitions 0, 2; what runs send there waits in their journals"
    one_finding(Mark.WARN, "topics", fact)


def test_missing_topics_are_one_finding(admin: FakeAdmin) -> None:
    del admin.found["headgate.runs"], admin.found["headgate.dlq"]
    one_finding(Mark.FAIL, "topics", "missing: headgate.runs, headgate.dlq")


@pytest.mark.parametrize(
    ("name", "value", "mark"), [("message.timestamp.type", "CreateTime", Mark.FAIL), ("retention.ms", "1", Mark.WARN)]
)
def test_each_setting_of_a_topic_that_differs_is_found(admin: FakeAdmin, name: str, value: str, mark: Mark) -> None:
    events = admin.found[EVENTS]
    admin.found[EVENTS] = replace(events, config={**events.config, name: value})
    one_finding(mark, "topics", f"{EVENTS}: {name} is {value}, it should be {events.config[name]}")


def test_partitions_without_a_leader_fail(admin: FakeAdmin) -> None:
    admin.found[EVENTS] = replace(admin.found[EVENTS], offline=(3,), out_of_sync=(3, 4))
    one_finding(Mark.FAIL, "topics", f"{EVENTS}: nobody leads partitions 3")


def test_copies_that_are_not_in_sync_are_a_warning(admin: FakeAdmin) -> None:
    admin.found[EVENTS] = replace(admin.found[EVENTS], out_of_sync=tuple(range(20)))
    listed = ", ".join(map(str, range(12)))
    one_finding(Mark.WARN, "topics", f"{EVENTS}: copies of partitions {listed} and 8 more are not in sync")


@pytest.mark.parametrize(
    ("difference", "mark", "fact"),
    [
        (2.0, Mark.WARN, "this machine's clock is 2.0 s behind Kafka's"),
        (-2.0, Mark.WARN, "this machine's clock is 2.0 s ahead of Kafka's"),
        (90.0, Mark.FAIL, "this machine's clock is 90.0 s behind Kafka's, and a worker here would not start"),
    ],
)
def test_clocks_that_differ_are_found(admin: FakeAdmin, difference: float, mark: Mark, fact: str) -> None:
    admin.clock = difference
    one_finding(mark, "clock", fact)


def test_clocks_that_cannot_be_compared_are_a_warning(admin: FakeAdmin) -> None:
    admin.clock = None
    code, [found] = run()
    assert (code, found.mark, found.check) == (0, Mark.WARN, "clock")


def test_nobody_at_work_is_a_warning(admin: FakeAdmin) -> None:
    admin.workers = Group(name="headgate.worker", state="EMPTY", members=(), committed={})
    one_finding(Mark.WARN, "workers", "no worker is in the group headgate.worker, so nothing is processed")


def test_partitions_that_nobody_has_are_a_warning(admin: FakeAdmin) -> None:
    some = replace(WORKER, partitions={EVENTS: (0, 1, 2, 3, 4)})
    admin.workers = replace(admin.workers, members=(some,), state="PREPARING_REBALANCING")
    one_finding(
        Mark.WARN, "workers", f"no worker has partitions 5, 6, 7 of {EVENTS} (the group is PREPARING_REBALANCING)"
    )


@pytest.mark.parametrize("moves", [False, True])
def test_an_open_transaction_that_is_there_at_a_second_look_too_is_a_warning(
    moves: bool, admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.ends = {(EVENTS, 3): 20}
    admin.stable = {(EVENTS, 3): 12}
    admin.workers = replace(admin.workers, committed={(EVENTS, 3): 12})
    looks: list[float] = []

    def later(seconds: float) -> None:
        looks.append(seconds)
        if moves:
            admin.stable = {(EVENTS, 3): 15}

    monkeypatch.setattr(time, "sleep", later)
    found = run()
    assert len(looks) == 1
    if moves:
        assert found == (0, [])
        return
    code, [finding] = found
    assert (code, finding.mark, finding.check) == (0, Mark.WARN, "topics")
    assert finding.fact == f"a transaction is open in {EVENTS}-3 at offset 12; it holds up 8 records"
    assert finding.remedy.endswith(
        f"`headgate kafka transactions abort --topic {EVENTS} --partition 3 --start-offset 12`"
    )


def test_no_workflows_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, {"old": {"retired_at": "x"}}, {"worker-0": {}})
    one_finding(Mark.WARN, "workflows", "no worker has announced any")


def test_workflows_that_no_live_worker_has_loaded_are_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"w": {"id": "w"}, "x": {"id": "x"}, "y": {"id": "y"}, "old": {"retired_at": "x"}}
    says(monkeypatch, known, {"worker-0": {"y": "1", "z": "1"}})
    one_finding(Mark.WARN, "workflows", "announced, and loaded by no live worker: w, x; their events sleep")


def test_while_a_worker_does_not_say_what_it_has_loaded_nothing_is_taken_for_loaded_by_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    says(monkeypatch, {"w": {"id": "w"}}, {"worker-9": {"x": "1"}})
    one_finding(Mark.WARN, "workflows", "no worker says that it has loaded w; worker-0 did not say lately what it has")
    says(monkeypatch, {"w": {"id": "w"}}, {"worker-9": {"w": "1"}})
    assert run() == (0, [])


@pytest.mark.parametrize(
    ("error", "mark", "fact"),
    [
        (NoGateway("http://a:1", "refused"), Mark.WARN, "none answers at http://a:1 (refused)"),
        (GatewayRefused(503, "Kafka is away.", "Wait."), Mark.FAIL, "http://127.0.0.1:1 is not ready"),
    ],
)
def test_a_gateway_that_is_not_ready_is_found(
    error: Exception, mark: Mark, fact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(*_: object) -> None:
        raise error

    monkeypatch.setattr(gatewayapi.Gateway, "get", get)
    one_finding(mark, "gateway", fact)


def test_what_a_gateway_that_answers_lacks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    down = {"up": False, "detail": "no answer", "remedy": "Start it"}
    monkeypatch.setattr(gatewayapi.Gateway, "get", lambda *_: {"checks": {"kafka": down, "workflows": {"up": True}}})
    one_finding(Mark.FAIL, "gateway", "http://127.0.0.1:1 answers, but not what needs kafka: no answer")


def test_a_gateway_that_refuses_the_token_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(_gateway: object, path: str) -> dict[str, object]:
        if path == "/readyz":
            return {}
        raise GatewayRefused(401, "The gateway refuses the token.", "Set HEADGATE_GATEWAY_TOKEN to the gateway's token")

    monkeypatch.setattr(gatewayapi.Gateway, "get", get)
    one_finding(Mark.FAIL, "gateway", "http://127.0.0.1:1 refuses the token of these settings")


def test_what_kafka_does_not_tell_is_a_finding_and_the_rest_goes_on(
    admin: FakeAdmin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> dict[str, str]:
        raise AdminError("Kafka does not allow this user to read the settings of 1", "Grant it with an ACL")

    monkeypatch.setattr(FakeAdmin, "broker_config", refused)
    one_finding(Mark.WARN, "kafka", "Kafka does not allow this user to read the settings of 1")


def test_what_is_not_finished_is_told_per_partition(admin: FakeAdmin) -> None:
    admin.ends = {(EVENTS, 0): 10, (EVENTS, 1): 5, ("headgate.commands", 7): 2}
    admin.workers = replace(admin.workers, committed={(EVENTS, 0): 4, (EVENTS, 1): 5})
    result = CliRunner().invoke(command, [], standalone_mode=False, catch_exceptions=False)
    assert result.stdout.partition("\n\n")[2] == (
        "not finished in    partition  records\nheadgate.events    0          6\nheadgate.commands  7          2\n"
    )


def test_kafka_out_of_reach_is_a_finding_with_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect() -> cluster.Cluster:
        raise KafkaUnreachable("a:1", "Connection refused")

    monkeypatch.setattr(cluster, "connect", connect)
    code, [found] = run()
    assert (code, found.check, found.fact) == (3, "kafka", "not reachable: Connection refused")


def test_every_check_is_run(connected: Callable[[], cluster.Cluster]) -> None:
    found = {finding.check for check in doctor.CHECKS for finding in check(connected())}
    assert found == {"kafka", "topics", "clock", "workers", "workflows", "gateway"}


def test_a_finding_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    title = "\x1b]0;mine\x07"
    doctor._print([doctor.Finding(mark=Mark.WARN, check="workflows", fact=title, remedy=title)], {}, json=False)
    assert "\x1b]" not in capsys.readouterr().out


def source(name: str, state: str, **more: Any) -> sourcelist.Listed:
    status = {"state": state} | more.pop("status", {})
    return sourcelist.Listed(id=name, kind="rss", status=status, spec=Spec(id=name, kind="rss"), **more)


def test_sources_that_nobody_reads_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"a": source("a", "connected", unattended=True), "b": source("b", "paused")}
    monkeypatch.setattr(sourcelist, "listed", lambda *_, **__: found)
    one_finding(Mark.WARN, "sources", "no process is in the group headgate.connectors, so nothing reads a")


def test_sources_that_have_failed_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"a": source("a", "failed", status={"error": {"message": "HTTP 401"}}), "b": source("b", "connected")}
    monkeypatch.setattr(sourcelist, "listed", lambda *_, **__: found)
    one_finding(Mark.WARN, "sources", "a has failed: HTTP 401")


def test_sources_in_good_order_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sourcelist, "listed", lambda *_, **__: {"a": source("a", "connected")})
    result = CliRunner().invoke(command, [], standalone_mode=False, catch_exceptions=False)
    assert "ok    sources    1 set up, none has failed: a\n" in result.stdout
