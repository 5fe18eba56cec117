import pytest
from pydantic import ValidationError

from app.settings import Settings, SettingsError, problems
from app.settings.problems import Given, Problem


def wrong(name: str, value: str) -> str:
    """The one line that a wrong value gives."""
    with pytest.raises(SettingsError) as raised:
        Settings.load({name: value}, environ={})
    return str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "log.level",
            "INFO",
            ("'INFO': input should be 'debug', 'info', 'warning' or 'error'. Did you mean 'info'?"),
        ),
        (
            "kafka.sasl_mechanism",
            "SCRAM-SHA256",
            (
                "'SCRAM-SHA256': input should be 'PLAIN', 'SCRAM-SHA-256' or "
                "'SCRAM-SHA-512'. Did you mean 'SCRAM-SHA-256'?"
            ),
        ),
        (
            "gateway.port",
            "http",
            (
                "'http': input should be a valid integer, unable to parse string as "
                "an integer. Port on which the gateway listens; 0: any free one. Default: 8080"
            ),
        ),
        (
            "kafka.partitions",
            "0",
            (
                "'0': input should be greater than or equal to 1. "
                "Partitions of each partitioned topic. Fixed once the topics exist. Default: 32"
            ),
        ),
        (
            "kafka.bootstrap",
            "kafka",
            (
                "'kafka': it is not written as this setting must be. "
                "Brokers to ask first, as `HOST:PORT` or several of them with commas. Default: 127.0.0.1:9092"
            ),
        ),
        (
            "limits.event_bytes",
            "1 MB",
            (
                "'1 MB': a size is a number of bytes, or a number with KiB, "
                "MiB or GiB. Largest event in bytes; at most 2 MiB. Default: 1 MiB"
            ),
        ),
        (
            "gateway.token",
            "s3cret",
            (
                "this value: it is too short, the least length is 8. "
                "Bearer token that requests must show. Without it the gateway does not start. Default: none"
            ),
        ),
        (
            "gateway.host",
            "",
            ("'': it is too short, the least length is 1. Address on which the gateway listens. Default: 127.0.0.1"),
        ),
    ],
)
def test_a_wrong_value_is_told_with_source_reason_and_right_value(name: str, value: str, message: str) -> None:
    assert wrong(name, value) == f"command line: {name} cannot be {message}"


def test_a_problem_reads_as_source_fact_and_remedy() -> None:
    assert str(Problem(source="a.toml:1", fact="it is wrong", remedy="Mend it")) == "a.toml:1: it is wrong. Mend it"


def test_a_name_like_no_other_gets_some_that_are_right() -> None:
    expected = Problem(source="X", fact="is not a setting", remedy="Known are a, b")
    assert problems.unknown("X", "X", ["a", "b"]) == expected


def test_a_long_list_of_names_is_cut() -> None:
    assert problems.unknown("X", "X", list("abcdefghij")).remedy == "Known are a, b, c, d, e, f, g, h …"


def test_a_wrong_default_is_told_as_the_default() -> None:
    with pytest.raises(ValidationError) as raised:
        Settings.model_validate({"worker": {"instance_id": "no spaces please"}})
    [found] = problems.wrong_values(raised.value, {})
    assert found.source == "default"
    given = {"worker.instance_id": Given("worker.instance_id", "no spaces please", "X")}
    [found] = problems.wrong_values(raised.value, given)
    assert found.source == "X"
