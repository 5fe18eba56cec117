"""Ports of this machine: a free one, and who holds a taken one."""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
from pathlib import Path
from typing import Final

import psutil

from app.kafka.embedded import probe
from app.kafka.embedded.errors import EmbeddedKafkaError, InUseError

LOWEST: Final = 10_240
_RANGE_FILE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port(host: str | None = None) -> int:
    """A port of `host` that is free now, below the range from which the system takes ports of outgoing connections.

    From inside that range, a client that keeps trying to reach a stopped broker may at last be given the broker's own
    port, connect to itself and hold it.
    """
    for _ in range(200):
        port = LOWEST + secrets.randbelow(_end_of_ours() - LOWEST)
        if is_free(port, host):
            return port
    raise EmbeddedKafkaError(f"No free port was found between {LOWEST} and {_end_of_ours()}.", remedy="Free some.")


def is_free(port: int, host: str | None = None) -> bool:
    """Whether a server of this machine could listen on `port` of `host` now; None is where Kafka listens."""
    host = probe.HOST if host is None else host.strip("[]")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe_socket:
        probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: TIME_WAIT does not count
        try:
            probe_socket.bind((host, port))
            probe_socket.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise EmbeddedKafkaError(
                f"Port {port} of {host} cannot be used: {error.strerror or error}.",
                remedy=f"Choose a port from {LOWEST} up" + ("." if host == probe.HOST else f", or {probe.HOST}."),
            ) from error
    return True


def taken(port: int) -> InUseError:
    """The error that says in words who holds `port`."""
    answer = probe.probe(port)
    by = holder(port)
    if answer.cluster_id is not None:
        what = f"a Kafka broker (cluster {answer.cluster_id}{', ' + by if by else ''}) answers there"
        return InUseError(
            f"Port {port} of {probe.HOST} is taken: {what}.",
            remedy=f"Use it with --kafka {probe.HOST}:{port}, stop it, or choose another port with --kafka-port.",
        )
    return InUseError(
        f"Port {port} of {probe.HOST} is taken{' by ' + by if by else ''}.",
        remedy="Stop what listens there, or choose another port with --kafka-port.",
    )


def holder(port: int) -> str | None:
    """The process that listens on `port`, in words, where the system tells."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return None


def _end_of_ours() -> int:
    try:
        return max(int(_RANGE_FILE.read_text().split()[0]), LOWEST + 1000)
    except (OSError, ValueError, IndexError):
        return 32_768  # IANA's and Linux' usual begin of the ephemeral range
