"""The jars of the embedded Kafka: a committed lock, a cache per user, and the fetch that fills it.

Where jars come from is the machine's configuration: the repositories of jgo (~/.config/jgo.conf), the mirror of Maven
Central in ~/.m2/settings.xml, the proxies and certificates of the environment. What is in the Maven cache of this user
already is taken from there. jgo would resolve the POMs of all of them first, one after another (40 s); the lock has the
whole answer, so only the jars themselves are fetched, over a few connections that are kept open.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO
from xml.etree import ElementTree as ET

from app.kafka.embedded.errors import EmbeddedKafkaError

if TYPE_CHECKING:
    import requests

AT_A_TIME: Final = 6
REQUEST_SECONDS: Final = 30
CHUNK_BYTES: Final = 128 * 1024

ELSEWHERE: Final = "or use a cluster that is there already: --kafka HOST:PORT."


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One pinned artifact of Maven."""

    group: str
    artifact: str
    version: str
    size_bytes: int
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def path(self) -> str:
        """The path inside any Maven repository."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.filename}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The pinned Kafka and its jars."""

    kafka: str
    jars: tuple[Jar, ...]


class WrongChecksumError(EmbeddedKafkaError):
    """What was fetched is not what the lock pins; it was thrown away."""


def load_lock() -> Lock:
    """Read the committed lock."""
    return parse_lock(resources.files("app.kafka.embedded").joinpath("jars.toml").read_text("utf-8"))


def parse_lock(text: str) -> Lock:
    """Read a lock: `kafka`, and `jars` as tables of coordinate, bytes, sha256."""
    content = tomllib.loads(text)
    jars = []
    for row in content["jars"]:
        group, artifact, version = row["coordinate"].split(":")
        jars.append(Jar(group=group, artifact=artifact, version=version, size_bytes=row["bytes"], sha256=row["sha256"]))
    return Lock(kafka=content["kafka"], jars=tuple(jars))


def cache_folder() -> Path:
    """The folder of this user's jars, by the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base, "headgate", "jars").expanduser()


def provide(lock: Lock, *, cache: Path | None = None, report: TextIO | None = None) -> list[Path]:
    """Return the paths of all jars of `lock`, fetching what the cache lacks. Raises EmbeddedKafkaError.

    Safe when several processes do it at once: one fetches, the others wait. `report` (stderr) gets a progress bar
    if it is a terminal, else one line.
    """
    folder = cache or cache_folder()
    paths = [_cached(folder, jar) for jar in lock.jars]
    if not all(map(_is_whole, paths, lock.jars)):
        folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(folder / ".lock"):
            missing = [jar for jar, path in zip(lock.jars, paths, strict=True) if not _is_whole(path, jar)]
            if missing:
                _fetch(missing, folder=folder, kafka=lock.kafka, report=report or sys.stderr)
    return paths


def repositories(settings: Path | None = None) -> list[str]:
    """The Maven repositories of this machine: what jgo is configured with, or the user's mirror of Maven Central."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext

    configured = list(GlobalSettings.load().repositories.values())
    mirror = _mirror_of_central(settings or Path.home() / ".m2" / "settings.xml")
    if mirror is not None:
        configured.insert(0, mirror)
    return [address.rstrip("/") for address in configured or MavenContext().remote_repos.values()]


def _cached(folder: Path, jar: Jar) -> Path:
    # The start of the hash in the path: two releases of Headgate with other locks share the cache without harm.
    return folder / jar.sha256[:12] / jar.filename


def _is_whole(path: Path, jar: Jar) -> bool:
    """Hashes are checked when a file enters the cache, and a file enters it whole; the size tells later damage."""
    try:
        return path.stat().st_size == jar.size_bytes
    except FileNotFoundError:
        return False


def _fetch(jars: list[Jar], *, folder: Path, kafka: str, report: TextIO) -> None:
    try:
        import requests
        from jgo.constants import default_maven_repo
    except ImportError as error:
        raise EmbeddedKafkaError(
            f"The jars of the embedded Kafka are not on this machine, and the package {error.name} that fetches them "
            "is not installed.",
            remedy=f"Install the extra: pip install 'headgate[dev-broker]'; {ELSEWHERE}",
        ) from error
    session = _session(requests.Session())
    sources = repositories()
    with (
        _progress(f"Kafka {kafka}", total_bytes=sum(jar.size_bytes for jar in jars), report=report) as advance,
        ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="jars") as pool,
        session,
    ):

        def provide_one(jar: Jar) -> None:
            local = default_maven_repo() / jar.path
            if local.is_file() and _sha256(local) == jar.sha256:
                with _into(_cached(folder, jar)) as part:
                    shutil.copyfile(local, part)
                advance(jar.size_bytes)
            else:
                _download(jar, _cached(folder, jar), session=session, sources=sources, advance=advance)

        # The largest first, so that none of them is the last one running.
        for done in [pool.submit(provide_one, jar) for jar in sorted(jars, key=lambda jar: -jar.size_bytes)]:
            try:
                done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _download(
    jar: Jar, target: Path, *, session: requests.Session, sources: Iterable[str], advance: Callable[[int], None]
) -> None:
    import requests

    refusals = []
    for source in sources:
        digest = hashlib.sha256()
        try:
            with (
                _into(target) as part,
                part.open("wb") as file,
                session.get(f"{source}/{jar.path}", stream=True, timeout=REQUEST_SECONDS) as answer,
            ):
                answer.raise_for_status()
                for chunk in answer.iter_content(CHUNK_BYTES):
                    file.write(chunk)
                    digest.update(chunk)
                    advance(len(chunk))
                if digest.hexdigest() != jar.sha256:
                    raise WrongChecksumError(
                        f"{jar.filename} as served by {source} has the SHA-256 {digest.hexdigest()}, "
                        f"but {jar.sha256} is pinned; it was thrown away.",
                        remedy="Ask whoever runs that Maven repository or the proxy before it, and try again.",
                    )
        except requests.RequestException as error:
            refusals.append(f"{source}: {error}")
        else:
            return
    raise EmbeddedKafkaError(
        f"{jar.group}:{jar.artifact}:{jar.version} could not be fetched ({'; '.join(refusals)}).",
        remedy=f"Check the network, or name your Maven mirror in ~/.m2/settings.xml, and try again; {ELSEWHERE}",
    )


def _session(session: requests.Session) -> requests.Session:
    """Connections are kept and a passing fault is retried: setting up one per jar costs 20 s for all of them."""
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    retry = Retry(4, backoff_factor=0.3, status_forcelist=(429, 500, 502, 503, 504))
    adapter = HTTPAdapter(pool_connections=AT_A_TIME, pool_maxsize=AT_A_TIME, max_retries=retry)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _into(target: Path) -> Iterator[Path]:
    """A path to write to that becomes `target` at once if all went well, and nothing otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _progress(title: str, *, total_bytes: int, report: TextIO) -> Iterator[Callable[[int], None]]:
    if not report.isatty():
        report.write(f"fetching {title} ({total_bytes / 1e6:.0f} MB) ...\n")
        report.flush()
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(file=report)) as bar:
        task = bar.add_task(f"fetching {title}", total=total_bytes)
        yield lambda count: bar.advance(task, count)


def _mirror_of_central(settings: Path) -> str | None:
    """The address of the first mirror that stands for Maven Central, as Maven reads its user settings."""
    try:
        root = ET.fromstring(settings.read_bytes())
    except FileNotFoundError:
        return None
    except ET.ParseError as error:
        raise EmbeddedKafkaError(
            f"{settings} is not well-formed XML ({error}), so the Maven mirror of this machine is not known.",
            remedy="Mend that file, or move it away.",
        ) from error
    for mirror in root.iterfind("{*}mirrors/{*}mirror"):
        patterns = [pattern.strip() for pattern in (mirror.findtext("{*}mirrorOf") or "").split(",")]
        address = (mirror.findtext("{*}url") or "").strip()
        if address and "!central" not in patterns and {"central", "*", "external:*"} & set(patterns):
            return address
    return None
