"""What needs no broker; the rest is in tests/integration/test_admin.py."""

import socket
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError

from app.kafka import admin, clients
from app.settings import KafkaSettings


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def test_where_nobody_listens_it_is_told() -> None:
    bootstrap = f"127.0.0.1:{free_port()}"
    with pytest.raises(clients.KafkaUnreachable) as raised:
        admin.Admin.connect(KafkaSettings(bootstrap=bootstrap))
    assert str(raised.value) == (
        f"Kafka is not reachable at {bootstrap}: Connect to ipv4#{bootstrap} failed: Connection refused. "
        "Start one with `headgate dev`, or name yours with --kafka HOST:PORT"
    )


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (KafkaError._AUTHENTICATION, "Mend kafka.sasl_username and kafka.sasl_password"),
        (KafkaError._SSL, "Mend kafka.security_protocol and kafka.ssl_cafile"),
        (KafkaError._RESOLVE, "Mend the host name in kafka.bootstrap"),
        (KafkaError._UNSUPPORTED_FEATURE, "Name a broker's listener, not a controller's"),
        (KafkaError._TRANSPORT, "Start one with `headgate dev`, or name yours with --kafka HOST:PORT"),
    ],
)
def test_each_reason_has_its_remedy(code: int, remedy: str) -> None:
    reason = KafkaError(code, "sasl_ssl://a:1/bootstrap: it did not work (after 3ms in state CONNECT)")
    error = admin._unreachable(KafkaSettings(bootstrap="a:1"), [reason])
    assert (error.reason, error.remedy) == ("it did not work", remedy)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            "Kafka does not allow this user to create it. Grant it (TOPIC_AUTHORIZATION_FAILED) with an ACL",
        ),
        (
            KafkaError.INVALID_REPLICATION_FACTOR,
            (
                "cannot create it with kafka.replication_factor 3: why. "
                "Set HEADGATE_KAFKA_REPLICATION_FACTOR to at most the number of brokers"
            ),
        ),
        (KafkaError.INVALID_CONFIG, "cannot create it: why (INVALID_CONFIG). The broker's log has the whole reason"),
    ],
)
def test_what_kafka_refuses_is_told_with_a_remedy(code: int, message: str) -> None:
    error = admin._translated(KafkaSettings(), KafkaError(code, "why"), "create it")
    assert isinstance(error, admin.AdminError)
    assert str(error) == message


def test_topics_with_partitions_that_nobody_leads_are_found_whoever_has_them() -> None:
    def topic(**leaders: int) -> Any:
        parts = {int(number[1:]): SimpleNamespace(leader=leader) for number, leader in leaders.items()}
        return SimpleNamespace(partitions=parts)

    listed = SimpleNamespace(topics={"led": topic(p0=1), "lost": topic(p2=-1, p0=-1, p1=1)})
    client = SimpleNamespace(list_topics=lambda timeout: listed)
    assert admin.Admin(KafkaSettings(), cast(Any, client)).leaderless() == {"lost": (0, 2)}


def test_a_broker_that_goes_away_is_unreachable() -> None:
    error = admin._translated(KafkaSettings(), KafkaError(KafkaError._TIMED_OUT, "Timed out"), "create it")
    assert isinstance(error, clients.KafkaUnreachable)
    assert error.reason == "it went away while asked to create it (Timed out)"


def test_what_is_only_too_early_is_asked_again() -> None:
    refreshed: list[int] = []
    answers: list[KafkaError | None] = [KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION, "x"), KafkaError(3, "x"), None]

    def ask() -> str:
        error = answers.pop(0)
        if error is not None:
            raise admin._translated(KafkaSettings(), error, "look")
        return "answer"

    assert (admin._patiently(ask, refresh=lambda: refreshed.append(1)), answers) == ("answer", [])
    assert refreshed == [1, 1]


def test_what_is_refused_is_not_asked_again() -> None:
    def ask() -> str:
        asked.append(1)
        raise admin._translated(KafkaSettings(), KafkaError(KafkaError.INVALID_CONFIG, "x"), "look")

    asked: list[int] = []
    with pytest.raises(admin.AdminError):
        admin._patiently(ask, refresh=lambda: None)
    assert asked == [1]


def test_a_created_topic_is_waited_for_until_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = admin.WantedTopic(name="t", partitions=2, replication_factor=1, config={})
    seen = admin.Topic(name="t", id="i", partitions=2, replication_factor=1, config={})
    answers: list[dict[str, admin.Topic]] = [{}, {"t": seen}]
    asked: list[object] = []

    class Client:
        def create_topics(self, *_args: object, **_kwargs: object) -> dict[str, object]:
            return {}

        def list_topics(self, **_kwargs: object) -> None: ...

    monkeypatch.setattr(admin.Admin, "topics", lambda _self, _names: answers.pop(0))
    monkeypatch.setattr(admin.Admin, "first_offsets", lambda _self, topics: asked.append(topics))
    admin.Admin(KafkaSettings(), cast(Any, Client())).create([wanted])
    assert (answers, asked) == ([], [{"t": 2}])


def test_leaders_that_are_not_there_yet_are_asked_for_longer_than_any_other_question(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = admin.WantedTopic(name="t", partitions=2, replication_factor=1, config={})
    seen = admin.Topic(name="t", id="i", partitions=2, replication_factor=1, config={})
    passed = [0.0]
    early: list[int] = [KafkaError.NOT_LEADER_FOR_PARTITION] * 3
    created: list[KafkaError | None] = [KafkaError(KafkaError.NOT_CONTROLLER, "x"), None]

    class Client:
        def create_topics(self, *_args: object, **_kwargs: object) -> dict[str, object]:
            return {"t": created.pop(0)}

        def list_topics(self, **_kwargs: object) -> None: ...

    def wait(_self: object, error: KafkaError | None, what: str, **_: object) -> None:
        if error is not None:
            raise admin._translated(KafkaSettings(), error, what)

    def first_offsets(_self: object, _topics: object) -> None:
        passed[0] += admin._PATIENCE_SECONDS + 1  # it has been patient itself, in vain
        if early:
            raise admin._translated(KafkaSettings(), KafkaError(early.pop(), "x"), "list the offsets of t")

    monkeypatch.setattr(time, "monotonic", lambda: passed[0])
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(admin.Admin, "topics", lambda _self, _names: {"t": seen})
    monkeypatch.setattr(admin.Admin, "_wait", wait)
    monkeypatch.setattr(admin.Admin, "first_offsets", first_offsets)
    made = admin.Admin(KafkaSettings(), cast(Any, Client()))
    made.create([wanted])
    assert (created, early) == ([], [])

    early[:] = [KafkaError.NOT_LEADER_FOR_PARTITION] * 99
    created[:] = [None]
    with pytest.raises(admin.AdminError, match="NOT_LEADER_FOR_PARTITION"):
        made.create([wanted])
