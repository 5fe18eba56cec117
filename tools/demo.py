"""`make demo`: starts everything, produces real events, shows what each of them caused, and leaves the service up.

Events come over HTTP and from Kafka's own console producer; what they caused is read from Kafka's topics and the
worker's metrics. With --check it verifies what it saw, stops by itself, and exits with 0 or 1. DEMO_BEGAN, in seconds
since 1970, is when `make demo` was typed: the time to the first result counts from there.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from app.cli import main as cli
from app.cli import output
from app.kafka.admin import Admin
from app.kafka.embedded import jars, launch, ports
from app.kafka.records import Reader
from app.settings import DEV_TOKEN, KafkaSettings, Settings

ROOT: Final = Path(__file__).resolve().parents[1]
DATA: Final = ROOT / ".headgate" / "demo"
EXAMPLES: Final = ("examples/webshop", "examples/event_triggered")
HEADGATE: Final = Path(sys.executable).with_name("headgate")
WAIT_SECONDS: Final = 60.0
START_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.05
STOP_SECONDS: Final = 15.0
CONSOLE, HTTP = "console producer", "HTTP"
AGAIN: Final = "order.created, the same id again"


@dataclass(kw_only=True)
class Sent:
    """One row of the table: what was sent, and what must come of it."""

    what: str
    how: str
    ids: tuple[str, ...] = ()
    workflows: dict[str, str] = field(default_factory=dict)
    """Workflow -> the status in which its one run of these events must end."""
    dead_letter: str | None = None
    """The text that a dead letter must hold in its value."""
    outcome: str | None = None
    """What came of it where that is no run and no dead letter, once it is known."""
    milliseconds: float | None = None
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Where the started service is."""

    port: int
    kafka: KafkaSettings
    metrics_port: int


class Failed(Exception):
    """The demo cannot go on."""


# --- start and stop ---------------------------------------------------------------------------------------------------


class Dev:
    """`headgate dev` as a child. What it says goes to a file, and to the terminal once `loud` is set."""

    def __init__(self, service: Service) -> None:
        DATA.mkdir(parents=True, exist_ok=True)
        self.log_file = DATA / "dev.log"
        self.loud = False
        self.ready = threading.Event()
        kafka_port = service.kafka.bootstrap.rpartition(":")[2]
        command = [str(HEADGATE), "dev", *EXAMPLES, "--data", str(DATA)]
        command += ["--port", str(service.port), "--kafka-port", kafka_port]
        if launch.TIES_TO_PARENT:
            command = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *command]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "HEADGATE_WORKER_METRICS_PORT": str(service.metrics_port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for us, who stop it in order
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS
        while not self.ready.wait(POLL_SECONDS):
            if not self.alive or time.monotonic() > end:
                self._reader.join(1.0)
                raise Failed("headgate dev did not start:\n" + self.log_file.read_text(errors="replace")[-4_000:])

    def stop(self) -> int:
        """End it as Ctrl-C does; returns its exit code."""
        if self.alive:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self.log_file.open("w") as log:
            for line in self._process.stdout:
                log.write(line)
                log.flush()
                if line.startswith("headgate ready:"):
                    self.ready.set()
                if self.loud:
                    sys.stderr.write(line)


def choose_port(wanted: int, what: str) -> int:
    """Return `wanted`, or a free port and a word about it."""
    if ports.is_free(wanted):
        return wanted
    found = ports.free_port()
    by = ports.holder(wanted)
    click.echo(f"Port {wanted} is taken{f' by {by}' if by else ''}; {what} gets {found}.")
    return found


# --- what is sent -----------------------------------------------------------------------------------------------------


def over_console(service: Service, mark: str) -> list[Sent]:
    """Send events with Kafka's own console producer, as anybody with a shell would."""
    order, numbers = f"order-{mark}", range(1, 11)
    updates = tuple(f"update-{mark}-{number}" for number in numbers)
    nonsense = f"two teapots, please ({mark})"
    event = json.dumps({"topic": "order.created", "id": order, "data": {"id": order, "total": 42.5}})
    lines = [event]
    lines += [
        json.dumps({"topic": "data/updates", "id": event_id, "data": {"value": number}})
        for event_id, number in zip(updates, numbers, strict=True)
    ]
    lines += [event, nonsense]
    tool = ["kafka", "--kafka", service.kafka.bootstrap, "console-producer"]
    done = subprocess.run(
        [str(HEADGATE), *tool, "--topic", f"{service.kafka.prefix}events"],
        input="".join(f"{line}\n" for line in lines),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"Kafka's console producer failed with exit code {done.returncode}:\n{done.stderr}")
    return [
        Sent(
            what="order.created, one event",
            how=CONSOLE,
            ids=(order,),
            workflows={"charge_order": "completed", "reserve_stock": "completed"},
        ),
        Sent(what="data/updates, ten events", how=CONSOLE, ids=updates, workflows={"batch_processor": "completed"}),
        Sent(what=AGAIN, how=CONSOLE),
        Sent(what="a line that is no event", how=CONSOLE, dead_letter=nonsense),
    ]


def over_http(service: Service, mark: str) -> list[Sent]:
    """Send events to the gateway: one, a list, one that a workflow rejects, and one that is wrong."""
    shop = {"charge_order": "completed", "reserve_stock": "completed"}
    (one,) = _accepted(service, {"name": "order.created", "payload": {"id": f"web-{mark}", "total": 17.0}})
    parts = [
        {"topic": "orders/created", "id": f"list-{mark}-{n}", "data": {"order_id": f"{mark}-{n}", "total": total}}
        for n, total in enumerate((80, 120), start=1)
    ]
    small, large = _accepted(service, parts)
    (bad,) = _accepted(service, {"name": "order.created", "payload": {"id": f"bad-{mark}", "total": -1}})
    plain = {"on_order_created": "completed", "audit": "completed"}
    status, answer = _post(service, {"name": "order.created", "payloda": {"id": 1}})
    error = answer.get("error", {})
    detail: dict[str, Any] = next(iter(error.get("details", [])), {})
    refused = Sent(what="order.created, payload misspelt", how=HTTP, outcome=f"{status} at {detail.get('pointer')!r}")
    if status not in (400, 422) or not detail:
        refused.wrong.append(f"the gateway answered {status} {answer}")
    return [
        Sent(what="order.created, one event", how=HTTP, ids=(one,), workflows=shop),
        Sent(what="orders/created, first of a list", how=HTTP, ids=(small,), workflows=plain),
        Sent(
            what="orders/created, second, a large one",
            how=HTTP,
            ids=(large,),
            workflows=plain | {"large_orders": "completed"},
        ),
        Sent(
            what="order.created, negative total",
            how=HTTP,
            ids=(bad,),
            workflows={"charge_order": "rejected", "reserve_stock": "completed"},
            dead_letter=f"bad-{mark}",
        ),
        refused,
    ]


def _accepted(service: Service, body: object) -> list[str]:
    status, answer = _post(service, body)
    if status != 202:
        raise Failed(f"The gateway answered {status}: {answer}")
    events = answer.get("events", [answer])
    return [event["event_id"] for event in events]


def _post(service: Service, body: object) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    headers = {"Authorization": f"Bearer {DEV_TOKEN}", "Content-Type": "application/json"}
    connection.request("POST", "/api/v1/events", json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


# --- what came of it --------------------------------------------------------------------------------------------------


class Watch:
    """Reads results, dead letters and events from where they end now."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.results: list[tuple[dict[str, Any], int]] = []
        self.dead_letters: list[tuple[dict[str, Any], int]] = []
        self.appended: dict[str, int] = {}
        self._stop = threading.Event()
        admin = Admin.connect(service.kafka)
        prefix = service.kafka.prefix
        self._threads = []
        for name, take in (("results", self._result), ("dlq", self._dead_letter), ("events", self._event)):
            reader = Reader(service.kafka, admin, prefix + name, from_start=False)
            self._threads.append(threading.Thread(target=self._follow, args=(reader, take)))
            self._threads[-1].start()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def runs_of(self, sent: Sent) -> dict[str, list[dict[str, Any]]]:
        """The runs of these events by workflow."""
        found: dict[str, list[dict[str, Any]]] = {}
        for result, _ in list(self.results):
            if {event["id"] for event in result["events"]} & set(sent.ids):
                found.setdefault(result["workflow_id"], []).append(result)
        return found

    def letter_of(self, sent: Sent) -> dict[str, Any] | None:
        """The dead letter of this event."""
        wanted = sent.dead_letter or "\0"
        return next((one for one, _ in list(self.dead_letters) if wanted in str(one.get("value"))), None)

    def is_done(self, sent: Sent) -> bool:
        """Whether all that must come of it has come."""
        runs = self.runs_of(sent)
        return all(name in runs for name in sent.workflows) and (
            sent.dead_letter is None or self.letter_of(sent) is not None
        )

    def latency_ms(self, sent: Sent) -> float | None:
        """From the append of the last event to the append of the last thing that it caused."""
        began = [self.appended[one] for one in (*sent.ids, sent.dead_letter) if one in self.appended]
        ended = [at for one, at in self.results if {event["id"] for event in one["events"]} & set(sent.ids)]
        ended += [at for one, at in self.dead_letters if sent.dead_letter and sent.dead_letter in str(one.get("value"))]
        return max(ended) - max(began) if began and ended else None

    def duplicates(self) -> float:
        """Events that the worker has dropped because it had seen their ids."""
        connection = http.client.HTTPConnection("127.0.0.1", self._service.metrics_port, timeout=5)
        try:
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
        except OSError as error:
            raise Failed(f"The worker does not tell its metrics: {error}. Its log is {DATA / 'dev.log'}") from error
        found = re.search(r"^headgate_events_duplicate_total (\S+)", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def _follow(self, reader: Reader, take: Callable[[bytes, int], None]) -> None:
        with reader:
            for record in reader.following():
                if self._stop.is_set():
                    return
                if record is not None and record.value is not None:
                    take(record.value, record.timestamp_ms)

    def _result(self, value: bytes, at: int) -> None:
        self.results.append((json.loads(value), at))

    def _dead_letter(self, value: bytes, at: int) -> None:
        self.dead_letters.append((json.loads(value), at))

    def _event(self, value: bytes, at: int) -> None:
        try:
            name = json.loads(value)["id"]
        except ValueError:
            name = value.decode(errors="replace")
        except KeyError:
            return
        self.appended.setdefault(name, at)


def judge(watch: Watch, sent: Sequence[Sent]) -> None:
    """Say of each row what came of it, and what is wrong with that."""
    for one in sent:
        one.milliseconds = watch.latency_ms(one)
        runs = watch.runs_of(one)
        for name, status in one.workflows.items():
            found = [run["status"] for run in runs.get(name, [])]
            if found != [status]:
                one.wrong.append(f"{name}: expected one run, {status}; found {found or 'none'}")
        for name in runs.keys() - one.workflows.keys():
            one.wrong.append(f"{name} ran and should not have")
        if one.dead_letter is not None and watch.letter_of(one) is None:
            one.wrong.append("no dead letter")


def caused(watch: Watch, one: Sent) -> list[str]:
    """What a row's events caused, in words."""
    lines = []
    for _, runs in sorted(watch.runs_of(one).items()):
        for run in runs:
            error = run["error"]
            outcome = f"{error['message']}" if error else json.dumps(run["result"])
            lines.append(f"{run['run_id']} {run['status']}: {outcome}")
    letter = watch.letter_of(one)
    if letter is not None:
        lines.append(f"dead letter {letter['code']}: {letter['reason']}")
    return lines or ([one.outcome] if one.outcome else ["nothing"])


# --- the table --------------------------------------------------------------------------------------------------------


def show(watch: Watch, sent: Sequence[Sent]) -> None:
    """Print what was sent and what came of it."""
    columns = ("event", "sent by", "caused", "ms")
    cells = [
        (one.what, one.how, caused(watch, one), "" if one.milliseconds is None else f"{one.milliseconds:.0f}")
        for one in sent
    ]
    click.echo()
    if not sys.stdout.isatty():
        rows = []
        for what, how, lines, took in cells:
            rows += [(what, how, lines[0], took), *(("", "", line, "") for line in lines[1:])]
        output.table(columns, rows)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column == "ms" else "left")
    for what, how, lines, took in cells:
        text = Text("\n").join(_coloured(line) for line in lines)
        table.add_row(Text(what), Text(how), text, took)
    Console().print(table)


def _coloured(line: str) -> Any:
    from rich.text import Text

    text = Text(line)
    for words, style in (
        (r"completed", "green"), (r"rejected", "yellow"), (r"^dead letter \w+", "red"), (r"^duplicate.*", "yellow"),
        (r"^4\d\d", "red"),
    ):  # fmt: skip
        text.highlight_regex(words, style)
    return text


def next_steps(service: Service) -> None:
    """Where everything is, and what to try."""
    kafka = service.kafka.bootstrap
    near = "" if kafka == KafkaSettings().bootstrap else f" --kafka {kafka}"
    headgate = os.path.relpath(HEADGATE)
    click.echo(
        f"\nThe service is up: gateway http://127.0.0.1:{service.port}, Kafka {kafka}, its log {DATA / 'dev.log'}\n\n"
        "Try, in another terminal:\n"
        f"  curl http://127.0.0.1:{service.port}/api/v1/events -H 'Authorization: Bearer {DEV_TOKEN}' \\\n"
        '       -H \'Content-Type: application/json\' -d \'{"name": "order.created", "payload": {"id": 1}}\'\n'
        f"  {headgate} tail results --from-start{near}\n"
        f"  {headgate} kafka{near} console-producer --topic headgate.events\n"
        "Change examples/webshop/workflows.py: it is loaded anew. A workflow of your own: docs/tutorial.md\n\n"
        "Ctrl-C stops everything."
    )


# --- altogether -------------------------------------------------------------------------------------------------------


def run(service: Service, *, check: bool) -> bool:
    """Start, send, show; keep it up unless `check`. Returns whether everything was as it must be."""
    began_at = float(os.environ.get("DEMO_BEGAN") or time.time())
    jars.provide(jars.load_lock())  # here, where its progress bar has a terminal
    click.echo("Starting Kafka, worker and gateway ...")
    dev = Dev(service)
    try:
        dev.wait_until_ready()
        click.echo(f"Ready after {time.time() - began_at:.0f} s. Sending events ...")
        watch = Watch(service)
        try:
            sent, dropped = _send_and_wait(service, watch)
        finally:
            watch.close()
        judge(watch, sent)
        if not dropped:
            _again(sent).wrong.append("the worker dropped no duplicate")
        show(watch, sent)
        took = time.time() - began_at
        if watch.results:
            first = min(at for _, at in watch.results) / 1000 - began_at
            click.echo(f"\nFrom the start to the first result it took {first:.0f} s, to the last one {took:.0f} s.")
        wrong = [f"{one.what} ({one.how}): {what}" for one in sent for what in one.wrong]
        for line in wrong:
            output.warn(line)
        if not check:
            next_steps(service)
            dev.loud = True
            _until_interrupted(dev)
    finally:
        code = dev.stop()
    if code != 0:
        wrong.append(f"headgate dev ended with exit code {code}")
        output.warn(f"{wrong[-1]}; its log is {dev.log_file}")
    click.echo("Stopped." if not check else "Everything is as it must be." if not wrong else "Something is wrong.")
    return not wrong


def _send_and_wait(service: Service, watch: Watch) -> tuple[list[Sent], bool]:
    mark = f"{int(time.time()):x}{secrets.token_hex(2)}"  # ids of their own: the data of earlier demos is still there
    before = watch.duplicates()
    sent = over_http(service, mark)  # first: the console producer is a JVM, for which no result is to wait
    sent += over_console(service, mark)
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        dropped = watch.duplicates() > before
        if dropped and all(watch.is_done(one) for one in sent):
            break
        time.sleep(POLL_SECONDS)
    _again(sent).outcome = "duplicate: dropped, no second run" if dropped else "nothing seen"
    return sent, dropped


def _again(sent: Sequence[Sent]) -> Sent:
    """The row of the duplicate."""
    return next(one for one in sent if one.what == AGAIN)


def _until_interrupted(dev: Dev) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while dev.alive:
            time.sleep(0.2)


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description="Everything on this machine, with real events.")
    parser.add_argument("--check", action="store_true", help="verify what was seen, stop, exit with 0 or 1")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell's `&` has it ignore the first one
        signal.signal(number, signal.default_int_handler)
    try:
        port, kafka = choose_port(8080, "the gateway"), choose_port(9092, "Kafka")
        settings = Settings.load({"kafka.bootstrap": f"127.0.0.1:{kafka}"}, dev=True)
        service = Service(port=port, kafka=settings.kafka, metrics_port=ports.free_port())
        return 0 if run(service, check=options.check) else 1
    except KeyboardInterrupt:
        click.echo("\nStopped.")
        return 1 if options.check else 0
    except Failed as error:
        click.echo(f"error: {error}", err=True)
        return 1
    except Exception as error:  # noqa: BLE001 the outermost place: it ends the process
        code = cli.tell(error)
        return 1 if options.check else code


if __name__ == "__main__":
    sys.exit(main())
