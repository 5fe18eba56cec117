from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, is_loopback, require_gateway_token, require_loopback


def facts(raised: pytest.ExceptionInfo[SettingsError]) -> list[str]:
    return [f"{problem.source}: {problem.fact}" for problem in raised.value.problems]


def test_later_sources_win(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[kafka]\npartitions = 1\nprefix = 'file.'\nbootstrap = 'file:1'\n")
    environ = {"HEADGATE_KAFKA_PREFIX": "env.", "HEADGATE_KAFKA_BOOTSTRAP": "env:1"}
    loaded = Settings.load({"kafka.bootstrap": "option:1"}, dev=True, config=path, environ=environ)
    names = ("replication_factor", "partitions", "prefix", "bootstrap")
    assert [loaded.value(f"kafka.{name}") for name in names] == [1, 1, "env.", "option:1"]
    assert [loaded.source(f"kafka.{name}") for name in (*names, "sasl_username")] == [
        "development default",
        f"{path}:2",
        "HEADGATE_KAFKA_PREFIX",
        "command line",
        "default",
    ]


def test_the_file_may_be_named_by_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[log]\nlevel = 'debug'\n")
    assert Settings.load(environ={"HEADGATE_CONFIG": str(path)}).log.level == "debug"


def test_the_file_of_the_working_directory_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("headgate.toml").write_text("[log]\nlevel = 'debug'\n")
    assert Settings.load(environ={}).source("log.level") == "headgate.toml:2"


def test_all_problems_of_all_sources_come_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[kafka]\npartitions = 'many'\n")
    environ = {"HEADGATE_LOG_LEVEL": "loud", "HEADGATE_NONSENSE": "1"}
    with pytest.raises(SettingsError) as raised:
        Settings.load({"gateway.port": "99999", "x.y": "1"}, config=path, environ=environ)
    assert [line.split(" cannot be")[0] for line in facts(raised)] == [
        "HEADGATE_NONSENSE: is not a setting",
        "command line: x.y is not a setting",
        f"{path}:2: kafka.partitions",
        "command line: gateway.port",
        "HEADGATE_LOG_LEVEL: log.level",
    ]
    assert raised.value.exit_code == 2


def test_a_wrong_value_that_a_later_source_replaces_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[kafka]\npartitions = 'many'\n")
    assert Settings.load({"kafka.partitions": "4"}, config=path, environ={}).kafka.partitions == 4


@pytest.mark.parametrize("text", ["", "none", "None"])
def test_none_takes_away_what_may_be_absent(text: str) -> None:
    assert Settings.load(environ={"HEADGATE_WORKER_METRICS_PORT": text}).worker.metrics_port is None


def test_none_is_a_text_where_nothing_may_be_absent() -> None:
    assert Settings.load(environ={"HEADGATE_WORKER_GROUP": "none"}).worker.group == "none"


def test_a_list_is_written_with_commas_or_as_a_list(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("[replies]\nallowed_topics = ['a.*', 'b']\n")
    assert Settings.load(config=path, environ={}).replies.allowed_topics == ("a.*", "b")
    environ = {"HEADGATE_REPLIES_ALLOWED_TOPICS": "a.*, b,"}
    assert Settings.load(environ=environ).replies.allowed_topics == ("a.*", "b")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            {"kafka.min_insync_replicas": 4},
            "command line: kafka.min_insync_replicas is 4, above kafka.replication_factor, which is 3 (default)",
        ),
        (
            {"worker.clock_stop_seconds": 0.5},
            "default: worker.clock_warn_seconds is 1.0, above worker.clock_stop_seconds, which is 0.5 (command line)",
        ),
        (
            {"limits.batch_bytes": "512 KiB"},
            "default: limits.event_bytes is 1048576, above limits.batch_bytes, which is 524288 (command line)",
        ),
        (
            {"limits.event_bytes": "2097153"},
            (
                "command line: limits.event_bytes is 2097153, above 2097152 (2 MiB): that is the most that the topic "
                "events takes, and for which the journal and dead letters have room"
            ),
        ),
        (
            {"kafka.ssl_keyfile": "a.pem"},
            "command line: kafka.ssl_keyfile is 'a.pem', which needs kafka.ssl_certfile",
        ),
        (
            {"kafka.ssl_certfile": "a.pem"},
            "command line: kafka.ssl_certfile is 'a.pem', which needs kafka.ssl_keyfile",
        ),
        (
            {"kafka.security_protocol": "SASL_SSL", "kafka.sasl_mechanism": "PLAIN", "kafka.sasl_username": "me"},
            "command line: kafka.security_protocol is 'SASL_SSL', which needs kafka.sasl_password",
        ),
    ],
)
def test_values_that_contradict_each_other_are_refused(overrides: dict[str, object], expected: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.load(overrides, environ={})
    assert facts(raised) == [expected]


def test_an_event_may_be_as_large_as_the_topic_takes() -> None:
    assert Settings.load({"limits.event_bytes": "2 MiB"}, environ={}).limits.event_bytes == 2 * 1024 * 1024


def test_a_gateway_without_a_token_does_not_start() -> None:
    with pytest.raises(SettingsError) as raised:
        require_gateway_token(Settings.load(environ={}))
    assert str(raised.value) == (
        "gateway.token: no token is set, and a gateway without one would let everybody in. "
        "Set HEADGATE_GATEWAY_TOKEN to 8 characters or more, such as what `openssl rand -hex 32` prints"
    )


def test_in_development_there_is_a_token_that_everybody_knows() -> None:
    assert require_gateway_token(Settings.load(dev=True, environ={})) == "test-token"


@pytest.mark.parametrize("name", ["gateway.host", "worker.metrics_host"])
def test_development_listens_on_this_machine_only(name: str) -> None:
    require_loopback(Settings.load({name: "::1"}, dev=True, environ={}))
    with pytest.raises(SettingsError, match=f"command line: {name} is '0.0.0.0', and development listens on this"):
        require_loopback(Settings.load({name: "0.0.0.0"}, dev=True, environ={}))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_these_are_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example.com", ""])
def test_these_may_be_another(host: str) -> None:
    assert not is_loopback(host)


def test_secrets_are_not_in_what_is_printed() -> None:
    secret = "hunter2hunter2"
    environ = {"HEADGATE_GATEWAY_TOKEN": secret, "HEADGATE_KAFKA_SASL_PASSWORD": secret}
    loaded = Settings.load(environ=environ)
    assert loaded.secrets() == (secret, secret)
    assert secret not in f"{loaded!r} {loaded} {loaded.model_dump_json()}"


@pytest.mark.parametrize(
    "token", ["hunter2hunter2\n", " hunter2hunter2", "hunter2 hunter2", "hünter2hünter2", "a" * 8 + "\x00"]
)
def test_a_token_that_no_header_can_hold_is_refused_in_words_that_do_not_tell_it(token: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.load(environ={"HEADGATE_GATEWAY_TOKEN": token})
    assert "gateway.token cannot be this value: a token has printable ASCII characters alone" in str(raised.value)
    assert "printf %s" in str(raised.value)
    assert "nter2" not in str(raised.value)


def test_a_secret_with_too_few_characters_is_not_in_the_message() -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.load(environ={"HEADGATE_GATEWAY_TOKEN": "hunter2"})
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("overrides", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"gateway.port": 9000}, "http://127.0.0.1:9000"),
        ({"gateway.host": "0.0.0.0"}, "http://127.0.0.1:8080"),
        ({"gateway.host": "::"}, "http://127.0.0.1:8080"),
        ({"gateway.host": "::1"}, "http://[::1]:8080"),
        ({"gateway.host": "[::1]"}, "http://[::1]:8080"),
        ({"gateway.url": "https://headgate.example.com/"}, "https://headgate.example.com"),
    ],
)
def test_the_command_line_finds_the_gateway(overrides: dict[str, object], url: str) -> None:
    assert Settings.load(overrides, environ={}).gateway_url() == url
