"""Facts about the machine and the versions, kept with every result."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from benchmarks import broker, catalog, durable_peers, processes

OURS = ("aiohttp", "aiokafka", "confluent-kafka", "faust-streaming", "fastapi", "orjson", "uvicorn", "uvloop")
DURABLE_PEERS = ("dbos", "hypercorn", "restate-sdk", "uvicorn")
PEERS = ("aiokafka", "confluent-kafka", "faststream", "faust-streaming", "quixstreams", "uvloop")


def facts(node: broker.Broker) -> dict[str, Any]:
    """Return date, processor, memory, kernel, Python, Kafka, Java, commit and package versions."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "kafka": _kafka_version(node),
        "java": _java(node),
        "commit": _output(["git", "-C", str(processes.ROOT), "rev-parse", "--short", "HEAD"]),
        "packages": {name: metadata.version(name) for name in OURS},
        "peers": _versions(catalog.PEERS_PYTHON, PEERS),
        "durable_peers": _versions(durable_peers.PYTHON, DURABLE_PEERS) | durable_peers.programs(),
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _kafka_version(node: broker.Broker) -> str | None:
    """Read the version from the name of the broker's own jar among its open files or on its class path."""
    if node.pid is None:
        return None
    opened = [one.path for one in psutil.Process(node.pid).open_files()]
    jars = [Path(path).name for path in opened if Path(path).name.startswith("kafka-server-common-")]
    return jars[0].removeprefix("kafka-server-common-").removesuffix(".jar") if jars else None


def _java(node: broker.Broker) -> str | None:
    if node.pid is None:
        return None
    process = psutil.Process(node.pid)
    first = subprocess.run([process.exe(), "-version"], capture_output=True, text=True, check=False).stderr
    options = [part for part in process.cmdline() if part.startswith("-X")]
    return " ".join([(first.splitlines() or [""])[0], *options])


def _versions(python: Path, names: tuple[str, ...]) -> dict[str, str]:
    if not python.exists():
        return {}
    program = f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {names!r}}}))"
    answer: dict[str, str] = json.loads(_output([str(python), "-c", program]) or "{}")
    return answer


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
