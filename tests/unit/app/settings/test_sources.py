from pathlib import Path

import pytest

from app.cli import dev
from app.settings import sources
from app.settings.problems import Given, Problem


def dev_options() -> set[str]:
    return {parameter.opts[0] for parameter in dev.command.params if parameter.opts[0].startswith("--")}


def problem(source: str, fact: str, remedy: str) -> Problem:
    return Problem(source=source, fact=fact, remedy=remedy)


def test_without_a_file_in_the_working_directory_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(sources.from_file(None)) == []


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    expected = problem(str(path), "there is no such settings file", "Mend --config or create it")
    assert list(sources.from_file(path)) == [expected]


TEXT = """\
# Kafka
[kafka]
bootstrap = "kafka-0:9092"   # first
 "partitions" = 64

[log]
level = "debug"
"""


def test_values_come_with_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "headgate.toml"
    path.write_text(TEXT)
    assert list(sources.from_file(path)) == [
        Given("kafka.bootstrap", "kafka-0:9092", f"{path}:3"),
        Given("kafka.partitions", 64, f"{path}:4"),
        Given("log.level", "debug", f"{path}:7"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "fact", "remedy"),
    [
        ("[kafka]\nbootstrap_servers = 'a:1'\n", 2, "kafka.bootstrap_servers is not a setting", "kafka.bootstrap?"),
        ("[log]\nlevel='info'\n[kafka]\nlevel='info'\n", 4, "kafka.level is not a setting", "log.level?"),
        ("[worker]\nbootstrap='a:1'\n", 2, "worker.bootstrap is not a setting", "kafka.bootstrap?"),
        ("\n[gatway]\nport=1\n", 2, "[gatway] is not a setting", "[gateway]?"),
        ("[kafka]\nbrokers='a:1'\n", 2, "kafka.brokers is not a setting", "kafka.bootstrap?"),
        ("bootstrap='a:1'\n", 1, "bootstrap is not a setting", "kafka.bootstrap?"),
        ("[dev]\npartitions=4\n", 2, "dev.partitions is not a setting", "kafka.partitions?"),
        ("[workers]\nthreads=4\n", 1, "[workers] is not a setting", "[worker]?"),
        ("kafka = 1\n", 1, "kafka is a group, not a value", "Write `[kafka]`"),
        ("kafka.prefx = 'a.'\n", 1, "kafka.prefx is not a setting", "kafka.prefix?"),
        ("\nkafka = {prefx = 'a.'}\n", 2, "kafka.prefx is not a setting", "kafka.prefix?"),
    ],
)
def test_an_unknown_name_has_its_line_and_the_nearest_right_one(
    tmp_path: Path, text: str, line: int, fact: str, remedy: str
) -> None:
    path = tmp_path / "headgate.toml"
    path.write_text(text)
    problems = [item for item in sources.from_file(path) if isinstance(item, Problem)]
    assert [(one.source, one.fact) for one in problems] == [(f"{path}:{line}", fact)]
    assert problems[0].remedy.endswith(remedy)


def test_what_is_not_toml_is_said_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "headgate.toml"
    path.write_text("[kafka]\nbootstrap: kafka\n")
    [found] = sources.from_file(path)
    assert isinstance(found, Problem)
    assert found.source == f"{path}:2"
    assert found.fact.startswith("it is not TOML: ")


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "headgate.toml"
    path.mkdir() if content is None else path.write_bytes(content)
    [found] = sources.from_file(path)
    assert isinstance(found, Problem)
    assert (found.source, found.remedy) == (str(path), "Make it a readable UTF-8 file")


def test_variables_are_read_by_their_names() -> None:
    environ = {"HEADGATE_KAFKA_SASL_USERNAME": "me", "HEADGATE_LOG_LEVEL": "debug", "PATH": "/bin"}
    assert list(sources.from_environ(environ)) == [
        Given("kafka.sasl_username", "me", "HEADGATE_KAFKA_SASL_USERNAME"),
        Given("log.level", "debug", "HEADGATE_LOG_LEVEL"),
    ]


@pytest.mark.parametrize("name", ["KAFKA_BOOTSTRAP_SERVERS", "KAFKA", "KAFKA_BROKERS", "KAFKA_URL", "BOOTSTRAP"])
def test_an_unknown_variable_has_the_nearest_right_one(name: str) -> None:
    name = f"HEADGATE_{name}"
    expected = problem(name, "is not a setting", "Did you mean HEADGATE_KAFKA_BOOTSTRAP?")
    assert list(sources.from_environ({name: "a:1"})) == [expected]


def is_an_option(option: str) -> tuple[str, str]:
    return "is an option of `headgate dev` and no setting", f"Say it as `headgate dev {option}`"


@pytest.mark.parametrize("option", sorted(dev_options()))
def test_a_variable_for_headgate_dev_alone_is_answered_with_its_option(option: str) -> None:
    name = f"HEADGATE_DEV_{option.removeprefix('--').replace('-', '_').upper()}"
    assert list(sources.from_environ({name: "1"})) == [problem(name, *is_an_option(option))]


ONLY_OPTIONS = sorted(
    parameter.opts[0].removeprefix("--")
    for parameter in dev.command.params
    if parameter.expose_value and parameter.opts[0].startswith("--")
)


@pytest.mark.parametrize("option", ONLY_OPTIONS)
def test_what_is_an_option_of_headgate_dev_alone_is_one_wherever_it_is_set(option: str, tmp_path: Path) -> None:
    name = option.replace("-", "_")
    fact, remedy = is_an_option(f"--{option}")
    variable = f"HEADGATE_{name.upper()}"
    assert list(sources.from_environ({variable: "1"})) == [problem(variable, fact, remedy)]
    path = tmp_path / "headgate.toml"
    path.write_text(f"{name} = 1\n\n[dev]\n{name} = 1\n")
    assert list(sources.from_file(path)) == [
        problem(f"{path}:1", f"{name} {fact}", remedy),
        problem(f"{path}:4", f"dev.{name} {fact}", remedy),
    ]


def test_the_port_of_a_kafka_of_its_own_is_an_option_in_the_table_of_kafka_too(tmp_path: Path) -> None:
    path = tmp_path / "headgate.toml"
    path.write_text("[kafka]\nport = 9093\n")
    fact, remedy = is_an_option("--kafka-port")
    assert list(sources.from_file(path)) == [problem(f"{path}:2", f"kafka.port {fact}", remedy)]


def test_variables_that_are_no_settings_are_left_alone() -> None:
    assert list(sources.from_environ(dict.fromkeys(sources.OTHER_VARIABLES, "x"))) == []


# What Kubernetes sets in every pod beside the Services headgate, headgate-gateway and headgate-worker.
SERVICE_LINKS = {
    "HEADGATE_SERVICE_HOST": "10.0.0.1",
    "HEADGATE_PORT": "tcp://10.0.0.1:8080",
    "HEADGATE_GATEWAY_SERVICE_HOST": "10.0.0.1",
    "HEADGATE_GATEWAY_SERVICE_PORT": "8080",
    "HEADGATE_GATEWAY_SERVICE_PORT_HTTP": "8080",
    "HEADGATE_GATEWAY_PORT": "tcp://10.0.0.1:8080",
    "HEADGATE_GATEWAY_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "HEADGATE_GATEWAY_PORT_8080_TCP_ADDR": "10.0.0.1",
    "HEADGATE_GATEWAY_PORT_8080_TCP_PORT": "8080",
    "HEADGATE_GATEWAY_PORT_8080_TCP_PROTO": "tcp",
    "HEADGATE_WORKER_METRICS_PORT": "tcp://10.0.0.2:9100",
}


def test_service_links_of_kubernetes_are_no_settings() -> None:
    assert list(sources.from_environ(SERVICE_LINKS)) == []


def test_the_same_name_with_a_port_in_it_is_a_setting() -> None:
    assert list(sources.from_environ({"HEADGATE_GATEWAY_PORT": "80"})) == [
        Given("gateway.port", "80", "HEADGATE_GATEWAY_PORT")
    ]


def test_an_option_that_was_not_given_says_nothing() -> None:
    assert list(sources.from_overrides({"kafka.bootstrap": None, "gateway.port": 1})) == [
        Given("gateway.port", 1, "command line")
    ]


def test_an_option_for_no_setting_is_a_problem() -> None:
    assert list(sources.from_overrides({"kafka.boot": "a:1"})) == [
        problem("command line", "kafka.boot is not a setting", "Did you mean kafka.bootstrap?")
    ]
