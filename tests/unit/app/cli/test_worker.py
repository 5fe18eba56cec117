"""How `headgate worker` ends where it cannot begin. It runs in tests/e2e."""

import os
import subprocess
import sys
from pathlib import Path

HEADGATE = Path(sys.executable).with_name("headgate")


def test_without_a_kafka_one_sentence_says_so(tmp_path: Path) -> None:
    flows = tmp_path / "flows.py"
    flows.write_text("from headgate import workflow\n\n@workflow(trigger_on_event='a')\ndef w(ctx): ...\n")
    done = subprocess.run(
        [HEADGATE, "worker", flows.name, "--kafka", "127.0.0.1:1", "--metrics-port", "none"],
        env=os.environ | {"HEADGATE_KAFKA_PARTITIONS": "8", "HEADGATE_LOG_FORMAT": "json"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    [line] = done.stderr.splitlines()
    assert line.startswith("error: Kafka is not reachable at 127.0.0.1:1: ")


def test_a_path_that_is_not_there_is_told_of_before_kafka_is_asked(tmp_path: Path) -> None:
    done = subprocess.run(
        [HEADGATE, "worker", "/nope.py", "--kafka", "127.0.0.1:1", "--metrics-port", "none"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: there is no file or folder /nope.py, and it is no module's name; check the spelling\n"
    )
