import dataclasses
import hashlib
import io
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.kafka.embedded import jars
from app.kafka.embedded.errors import EmbeddedKafkaError


class Repository:
    """A Maven repository on the loopback interface that counts what it is asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.removeprefix("/repository/")
                repository.asked[path] += 1
                content = repository.files.get(path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/repository"

    def offer(self, artifact: str, content: bytes) -> jars.Jar:
        jar = jars.Jar(
            group="org.example",
            artifact=artifact,
            version="1.0",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        self.files[jar.path] = content
        return jar


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Repository]:
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    made = Repository()
    monkeypatch.setattr(jars, "repositories", lambda: [made.address])
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def lock_of(*pinned: jars.Jar) -> jars.Lock:
    return jars.Lock(kafka="9.9.9", jars=pinned)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


def test_what_the_cache_lacks_is_fetched_once_and_said_in_one_line(repository: Repository, tmp_path: Path) -> None:
    lock, report = lock_of(repository.offer("a", b"first"), repository.offer("b", b"second")), io.StringIO()

    paths = jars.provide(lock, cache=tmp_path / "cache", report=report)
    again = jars.provide(lock, cache=tmp_path / "cache", report=report)

    assert [b"first", b"second"] == [path.read_bytes() for path in paths]
    assert paths == again
    assert {"org/example/a/1.0/a-1.0.jar": 1, "org/example/b/1.0/b-1.0.jar": 1} == repository.asked
    assert "fetching Kafka 9.9.9 (0 MB) ...\n" == report.getvalue()


def test_a_jar_with_a_wrong_checksum_is_refused_and_thrown_away(repository: Repository, tmp_path: Path) -> None:
    jar = repository.offer("a", b"what was pinned")
    repository.files[jar.path] = b"something other"

    with pytest.raises(jars.WrongChecksumError) as refused:
        jars.provide(lock_of(jar), cache=tmp_path / "cache", report=io.StringIO())

    served = hashlib.sha256(b"something other").hexdigest()
    assert (
        f"a-1.0.jar as served by {repository.address} has the SHA-256 {served}, but {jar.sha256} is pinned; "
        "it was thrown away."
    ) == refused.value.fact
    assert [] == files_in(tmp_path / "cache")


def test_a_jar_that_cannot_be_had_is_named_with_the_remedy(repository: Repository, tmp_path: Path) -> None:
    jar = repository.offer("a", b"gone")
    repository.files.clear()

    with pytest.raises(EmbeddedKafkaError) as failed:
        jars.provide(lock_of(jar), cache=tmp_path / "cache", report=io.StringIO())

    assert "org.example:a:1.0 could not be fetched" in failed.value.fact
    assert "404" in failed.value.fact
    assert "--kafka HOST:PORT" in failed.value.remedy
    assert [] == files_in(tmp_path / "cache")


def test_the_next_repository_is_asked_where_one_has_no_such_jar(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jar = repository.offer("a", b"here")
    monkeypatch.setattr(jars, "repositories", lambda: [f"{repository.address}/none", repository.address])

    (path,) = jars.provide(lock_of(jar), cache=tmp_path / "cache", report=io.StringIO())

    assert b"here" == path.read_bytes()
    assert ["a-1.0.jar"] == files_in(tmp_path / "cache")


def test_a_damaged_file_in_the_cache_is_fetched_again(repository: Repository, tmp_path: Path) -> None:
    lock = lock_of(repository.offer("a", b"whole"))
    (path,) = jars.provide(lock, cache=tmp_path / "cache", report=io.StringIO())
    path.write_bytes(b"who")

    jars.provide(lock, cache=tmp_path / "cache", report=io.StringIO())

    assert b"whole" == path.read_bytes()


def test_several_that_need_the_jars_at_once_fetch_them_once(repository: Repository, tmp_path: Path) -> None:
    lock = lock_of(*(repository.offer(f"a{number}", b"x" * 1000) for number in range(8)))

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(jars.provide, lock, cache=tmp_path / "cache", report=io.StringIO()) for _ in range(4)]
        answers = [one.result() for one in asked]

    assert [answers[0]] * 4 == answers
    assert {1} == set(repository.asked.values())
    assert 8 == len(repository.asked)


def test_the_maven_cache_is_used_where_its_file_is_the_pinned_one(repository: Repository, tmp_path: Path) -> None:
    good, changed = repository.offer("good", b"pinned"), repository.offer("changed", b"pinned too")
    for jar, content in ((good, b"pinned"), (changed, b"other words")):
        local = tmp_path / "m2" / jar.path
        local.parent.mkdir(parents=True)
        local.write_bytes(content)

    paths = jars.provide(lock_of(good, changed), cache=tmp_path / "cache", report=io.StringIO())

    assert [b"pinned", b"pinned too"] == [path.read_bytes() for path in paths]
    assert {changed.path: 1} == repository.asked


def test_a_terminal_gets_a_progress_bar(repository: Repository, tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    report = Terminal()
    jars.provide(lock_of(repository.offer("a", b"x" * 1000)), cache=tmp_path / "cache", report=report)

    assert "fetching Kafka 9.9.9" in report.getvalue()
    assert "1.0/1.0 kB" in report.getvalue()


MIRROR = "<settings{0}><mirrors><mirror><mirrorOf>{1}</mirrorOf><url>http://mirror.test/m/</url></mirror></mirrors></settings>"


@pytest.mark.parametrize(
    ("mirror_of", "stands_for_central"),
    [
        ("central", True),
        ("*", True),
        ("external:*", True),
        ("own, central", True),
        ("*,!central", False),
        ("own", False),
    ],
)
@pytest.mark.parametrize("namespace", ["", ' xmlns="urn:maven:settings"'])
def test_the_users_mirror_of_maven_central_is_asked_first(
    tmp_path: Path, namespace: str, mirror_of: str, stands_for_central: bool
) -> None:
    (tmp_path / "settings.xml").write_text(MIRROR.format(namespace, mirror_of))

    found = jars.repositories(tmp_path / "settings.xml")

    assert (["http://mirror.test/m"] if stands_for_central else jars.repositories(tmp_path / "none")) == found


def test_unreadable_maven_settings_are_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "settings.xml").write_text("<settings>")

    with pytest.raises(EmbeddedKafkaError, match=r"settings\.xml is not well-formed XML"):
        jars.repositories(tmp_path / "settings.xml")


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
    assert Path("/some/cache/headgate/jars") == jars.cache_folder()

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ann")
    assert Path("/home/ann/.cache/headgate/jars") == jars.cache_folder()


def test_the_committed_lock_pins_kafka_and_names_no_host() -> None:
    lock = jars.load_lock()
    row = next(jar for jar in lock.jars if jar.artifact == "kafka-tools")

    assert lock.kafka == row.version
    assert len({jar.filename for jar in lock.jars}) == len(lock.jars)
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) and jar.size_bytes > 0 for jar in lock.jars)
    assert "//" not in Path(jars.__file__).with_name("jars.toml").read_text()
    assert "org/apache/kafka/kafka-tools/4.3.1/kafka-tools-4.3.1.jar" == dataclasses.replace(row, version="4.3.1").path
