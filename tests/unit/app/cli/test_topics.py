from dataclasses import replace

import orjson
import pytest
from click.testing import CliRunner

from app.cli.topics import command
from tests.unit.app.cli.conftest import FakeAdmin
from topics.catalog import CATALOG

pytestmark = pytest.mark.usefixtures("connected")
NAMES = [f"headgate.{name}" for name in CATALOG]


def run(*arguments: str) -> tuple[object, str]:
    """What the command returns, which is its exit code, and what it prints."""
    result = CliRunner().invoke(command, arguments, standalone_mode=False, catch_exceptions=False)
    return result.return_value, result.stdout


def test_apply_creates_what_is_missing_and_then_nothing(admin: FakeAdmin) -> None:
    assert run("apply") == (0, "".join(f"created {name}\n" for name in NAMES))
    before = dict(admin.found)
    assert run("apply") == (0, f"All {len(NAMES)} topics are there and as they should be.\n")
    assert admin.found == before


def test_apply_creates_nothing_beside_a_wrong_partition_count(admin: FakeAdmin) -> None:
    run("apply")
    admin.found["headgate.events"] = replace(admin.found["headgate.events"], partitions=3)
    del admin.found["headgate.dlq"]
    code, text = run("apply")
    assert code == 1
    assert "headgate.dlq" not in admin.found
    assert "fail  headgate.events  partitions  8" in text


def test_check_changes_nothing(admin: FakeAdmin) -> None:
    code, text = run("check", "--json")
    assert (code, admin.found) == (1, {})
    assert [one["topic"] for one in orjson.loads(text)["differences"]] == NAMES


def test_a_difference_that_headgate_can_work_with_fails_the_check_alone(admin: FakeAdmin) -> None:
    run("apply")
    events = admin.found["headgate.events"]
    admin.found["headgate.events"] = replace(events, config={**events.config, "retention.ms": "1"})
    code, text = run("check")
    assert (code, run("apply")) == (1, (0, text))
    assert text == (
        "      topic            what          wanted     found\n"
        "warn  headgate.events  retention.ms  604800000  1\n"
        "\n"
        "  Run `headgate kafka configs --alter --entity-type topics --entity-name headgate.events --add-config "
        "retention.ms=604800000`\n"
    )


def test_json_has_what_was_created_and_what_differs(admin: FakeAdmin) -> None:
    code, text = run("apply", "--json")
    assert (code, orjson.loads(text)) == (0, {"created": NAMES, "differences": []})
