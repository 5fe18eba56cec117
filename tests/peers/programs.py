"""Programs that others wrote, laid down by `tools/connector_peers.sh`; CONNECTOR_PEERS names another folder of them."""

import importlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = Path(os.environ.get("CONNECTOR_PEERS") or ROOT / ".venv-connector-peers")


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test, or a module by its `pytestmark`, where a program is not installed."""
    return pytest.mark.skipif(
        not (PEERS / "bin" / name).exists(), reason=f"{name} is not installed; tools/connector_peers.sh does it"
    )


def borrowed(module: str) -> Any:
    """Import a client library of the peers into this process; skips the module that asks where there is none.

    Ours come first, also for what the library itself needs.
    """
    folders = [str(one) for one in PEERS.glob("lib/python*/site-packages")]
    before = list(sys.path)
    sys.path += folders
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs are not ours to mend
            return importlib.import_module(module)
    except ModuleNotFoundError:
        pytest.skip(f"{module} is not in {PEERS.name}; tools/connector_peers.sh installs it", allow_module_level=True)
    finally:
        sys.path[:] = before


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(
    name: str, arguments: Sequence[str], *, log: Path, at: str, environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run a server until the block ends; yields `at` once something answers there."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [PEERS / "bin" / name, *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
        try:
            _wait(at, process, log)
            yield at
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def pubsub_server() -> Iterator[str]:
    """Run Google's in-memory Pub/Sub server (tests/peers/pstest) until the block ends; yields where it is."""
    with subprocess.Popen([PEERS / "bin/pstest"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(10)


def _wait(at: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(at, timeout=5).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)  # it tells nobody that it listens
        else:
            return
    raise AssertionError(f"{process.args!r} does not answer at {at}: {log.read_text(errors='replace')[-2000:]}")
