"""A PostgreSQL of the tests, on this machine alone, from Debian's packages."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.unit.connectors.certificates import certificate

PASSWORD: Final = "s3cret"


def _binaries() -> Path | None:
    folders = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    found = shutil.which("initdb")
    folders += [] if found is None else [Path(found).parent]
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


BINARIES = _binaries()


class Server:
    """A server of the tests, on this machine alone. It refuses to run as root, so its folder may be another's."""

    def __init__(self) -> None:
        assert BINARIES is not None
        self._bin = BINARIES
        self._folder = Path(tempfile.mkdtemp(prefix="headgate-postgres-"))
        self._user: dict[str, Any] = (
            {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        (self._folder / "password").write_text(PASSWORD)
        self.certificate, key = certificate(self._folder)
        if self._user:
            for path in (self._folder, *self._folder.iterdir()):
                shutil.chown(path, "nobody", "nogroup")
        key.chmod(0o600)
        self._run("initdb", "-D", "data", "-U", "me", "-A", "scram-sha-256", "--pwfile=password", "-E", "UTF8", "-N")

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [str(self._bin / program), *words], cwd=self._folder, check=True, capture_output=True, **self._user
        )

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": str(self._folder / "certificate.pem"),
            "ssl_key_file": str(self._folder / "key.pem"),
        }
        words = [str(self._bin / "postgres"), "-D", "data"]
        for name, value in options.items():
            words += ["-c", f"{name}={value}"]
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(words, cwd=self._folder, stdout=log, stderr=log, **self._user)
        log.close()
        until = time.monotonic() + 30
        ready = [str(self._bin / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < until, (self._folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server as a machine dies; its other processes notice by themselves."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, *, password: str = PASSWORD, name: str = "postgres", user: str = "me", tls: str = "prefer") -> str:
        return f"postgresql://{user}:{password}@inside.example:{self.port}/{name}?sslmode={tls}"
