"""What is looked at before a tool runs; the tools themselves are in tests/integration/test_embedded_broker.py."""

import os
from collections.abc import Sequence

import click
import orjson
import pytest
from click.testing import CliRunner

from app.cli import kafka
from app.kafka import tools
from app.kafka.admin import Admin
from app.kafka.clients import KafkaUnreachable


class Started(Exception):
    """The process would have become the tool."""


@pytest.fixture(autouse=True)
def _nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_kafka: object) -> Admin:
        raise KafkaUnreachable("127.0.0.1:1", "Connection refused")

    def start(_path: str, _line: Sequence[str]) -> None:
        raise Started

    monkeypatch.setattr(Admin, "connect", connect)
    monkeypatch.setattr(tools, "command", lambda *_, **__: ["java"])
    monkeypatch.setattr(os, "execv", start)


def run(*arguments: str) -> None:
    CliRunner().invoke(kafka.command, arguments, standalone_mode=False, catch_exceptions=False)


def test_no_tool_is_started_for_a_cluster_that_does_not_answer() -> None:
    with pytest.raises(KafkaUnreachable) as refused:
        run("topics", "--list")
    assert refused.value.exit_code == 3


@pytest.mark.parametrize(
    "arguments", [("topics", "--help"), ("dump-log", "--files", "x"), ("topics", "--bootstrap-server", "a:1", "--list")]
)
def test_what_needs_no_cluster_or_names_its_own_is_started(arguments: tuple[str, ...]) -> None:
    with pytest.raises(Started):
        run(*arguments)


@pytest.mark.parametrize("arguments", [("--kafka", "a:1"), ("--list", "--kafka=a:1")])
def test_an_option_of_ours_behind_the_tool_is_told_where_it_belongs(arguments: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError, match="before the tool: headgate kafka --kafka HOST:PORT topics"):
        run("topics", *arguments)


@pytest.mark.parametrize("arguments", [("--list", "--json"), ("--json", "--list")])
def test_the_list_of_tools_is_json_where_that_is_asked_for(arguments: tuple[str, ...]) -> None:
    printed = CliRunner().invoke(kafka.command, arguments, catch_exceptions=False).stdout
    assert [orjson.loads(line) for line in printed.splitlines()] == [
        {"tool": tool.name, "about": tool.about} for tool in tools.TOOLS.values()
    ]


def test_the_list_of_tools_has_a_line_for_each() -> None:
    lines = CliRunner().invoke(kafka.command, ["--list"], catch_exceptions=False).stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(tools.TOOLS)


def test_json_of_a_tool_is_the_tools_own() -> None:
    with pytest.raises(click.UsageError, match="--json belongs to --list"):
        run("--json", "topics", "--list")


def test_without_a_tool_an_argument_is_missing() -> None:
    with pytest.raises(click.MissingParameter) as missing:
        run()
    assert missing.value.format_message() == "Missing argument 'TOOL'."
