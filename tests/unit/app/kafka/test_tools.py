import os

import pytest

from app.kafka import tools


@pytest.mark.parametrize("name", ["console-producer", "kafka-console-producer", "kafka-console-producer.sh"])
def test_a_tool_is_found_by_any_of_its_names(name: str) -> None:
    assert "org.apache.kafka.tools.ConsoleProducer" == tools.find(name).main_class


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("consol-producer", "Kafka has no tool 'consol-producer' here. Did you mean console-producer? "),
        ("kafka-topic.sh", "Kafka has no tool 'topic' here. Did you mean topics? "),
        ("xyzzy", "Kafka has no tool 'xyzzy' here. "),
    ],
)
def test_an_unknown_tool_names_the_nearest(name: str, words: str) -> None:
    with pytest.raises(tools.UnknownToolError) as unknown:
        tools.find(name)

    assert f"{words}`headgate kafka --list` shows all of them." == str(unknown.value)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("topics", ["--list"], ["--bootstrap-server", "host:9092", "--list"]),
        ("broker-api-versions", [], ["--bootstrap-server", "host:9092"]),
        ("transactions", ["list"], ["--bootstrap-server", "host:9092", "list"]),
        ("cluster", ["cluster-id"], ["cluster-id", "--bootstrap-server", "host:9092"]),
        ("topics", ["--list", "--bootstrap-server", "own:1"], ["--list", "--bootstrap-server", "own:1"]),
        ("topics", ["--list", "--bootstrap-server=own:1"], ["--list", "--bootstrap-server=own:1"]),
        ("console-consumer", ["--help"], ["--help"]),
        ("storage", ["random-uuid"], ["random-uuid"]),
    ],
)
def test_the_cluster_is_filled_in_where_the_tool_expects_it_and_nobody_named_one(
    name: str, arguments: list[str], expected: list[str]
) -> None:
    assert expected == tools.with_bootstrap(tools.find(name), arguments, bootstrap="host:9092")


@pytest.fixture
def java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "java_command", lambda **_: ["java"])


@pytest.mark.usefixtures("java")
@pytest.mark.parametrize("name", ["topics", "cluster"])
def test_security_reaches_the_tool_through_a_pipe_and_not_through_its_arguments(name: str) -> None:
    config = {"sasl.jaas.config": 'x password="s3cret\\\\";', "pem": "one\ntwo"}

    line = tools.command(tools.find(name), ["do"], bootstrap="host:9092", client_config=config)

    pipe = line[line.index("--command-config") + 1]
    with os.fdopen(int(pipe.removeprefix("/dev/fd/"))) as file:
        assert file.read() == 'pem=one\\ntwo\nsasl.jaas.config=x password="s3cret\\\\\\\\";\n'
    assert "s3cret" not in " ".join(line)


@pytest.mark.usefixtures("java")
def test_a_tool_for_another_cluster_or_for_none_gets_no_security_of_ours() -> None:
    config = {"security.protocol": "SSL"}
    for name, arguments in [("topics", ["--bootstrap-server", "own:1"]), ("storage", ["random-uuid"])]:
        line = tools.command(tools.find(name), arguments, bootstrap="host:9092", client_config=config)
        assert ["java", tools.find(name).main_class, *arguments] == line
