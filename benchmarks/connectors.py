"""Sources in one real `headgate connectors`, or the gateway: events per second and CPU per event by kind, and bounds.

Each kind reads from a peer on this machine (`benchmarks.outside`, the broker itself, redis-server, a folder, a table):
a flood of events, as fast as they are taken. A WebSocket also keeps pace with an open loop for half a minute, and many
schedules are due at each second. Beside it, in the same round, aiohttp and aiokafka do the same work without any
framework: for the WebSocket, and for webhooks.
"""

import hashlib
import hmac
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import uvloop

from benchmarks import broker, catalog, events, gateway, outside, plan, processes, rounds
from benchmarks.sources import CRON, KINDS, WEBHOOK, Kind, Round, create_table

NAMES: Final = (*KINDS, CRON, WEBHOOK)
RATE: Final = 10_000
SCHEDULES: Final = 200
SECRET: Final = "secret-of-the-benchmark"
HOOK: Final = "/webhooks/github/hook"
WARM: Final = "a-"
FLOOD: Final = "b-"
PACED: Final = "c-"


# ---- the mode --------------------------------------------------------------------------------------------------------


def run(given: plan.Plan) -> dict[str, Any]:
    """Measure every kind, the WebSocket and webhooks against bare sides, in turns."""
    runs: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    kinds = given.kinds or NAMES
    for number in range(1, given.long_rounds + 1):
        for kind in KINDS.values():
            if kind.name not in kinds:
                continue
            if kind.needs and shutil.which(kind.needs) is None:
                skipped[kind.name] = f"{kind.needs} is not installed"
                continue
            runs += _told(number, _kind(given, kind, number))
        if CRON in kinds:
            runs += _told(number, _schedules(given, number))
        if "websocket" in kinds:
            runs += _told(number, _bare_socket(given, number))
        if WEBHOOK in kinds:
            runs += _told(number, _hooks(given, number))
            runs += _told(number, _bare_hooks(given, number))
    return {
        "rate": RATE,
        "paced_seconds": _paced_seconds(given),
        "schedules": SCHEDULES,
        "connections": gateway.CONNECTIONS,
        "titles": {kind.name: kind.title for kind in KINDS.values()} | {CRON: f"{SCHEDULES} schedules"},
        "skipped": skipped,
        "runs": runs,
        "summary": summary(runs),
    }


def _told(number: int, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for one in found:
        rate = f"{one.get('per_second') or 0:>8,} events/s, {one['cpu_us_per_event']} µs CPU each"
        rounds.say(
            f"  round {number} {one['side']:<9} {one['kind']:<12} {one['form']:<6} {rate}, p99 {one.get('p99_ms')} ms, "
            f"acknowledged p99 {one.get('ack_p99_ms')} ms, lost {one['lost']}, doubled {one['doubled']}"
            + (f", peer {one['peer_cpu_us_per_event']} µs" if "peer_cpu_us_per_event" in one else "")
            + (f", unacknowledged {one['unacknowledged']}" if "unacknowledged" in one else "")
        )
    return [{"round": number, **one} for one in found]


def _paced_seconds(given: plan.Plan) -> float:
    return 5.0 if given.quick else 30.0


def _kind(given: plan.Plan, kind: Kind, number: int) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        one = _round(given, stack, f"{kind.name}{number}")
        if kind.name == "file":
            one.inbox.mkdir()
        if kind.name == "poll-sqlite":
            create_table(one.database)
        if kind.name == "kafka":
            broker.create(given.broker, [one.elsewhere], partitions=one.stage.partitions)
        if kind.needs == "redis-server":
            one.redis_port = _redis(one, stack)
        metrics_port = catalog.free_port()
        child = _connectors(one, stack, kind.kind or kind.name, kind.options(one), metrics_port)
        catalog.wait_until_ready(child, metrics_port)
        _wait_until_connected(child, metrics_port)
        side = Side(name="headgate", child=child, metrics_port=metrics_port)
        count = kind.quick_events if given.quick else kind.events
        _flood(one, side, WARM, max(200, count // 20), kind)
        found = [{"kind": kind.name, **_flood(one, side, FLOOD, count, kind)}]
        if kind.name == "websocket":
            found.append({"kind": kind.name, **_paced(one, side, _paced_seconds(given))})
        return found


def _round(given: plan.Plan, stack: ExitStack, label: str) -> Round:
    stage = given.stage(
        catalog.SIDES["headgate"],
        label,
        settings={
            "HEADGATE_CONNECTORS_ALLOW": "127.0.0.0/8",
            "HEADGATE_CONNECTORS_FOLDERS": "/",
            "HEADGATE_GATEWAY_TOKEN": gateway.TOKEN,
            "OUTSIDE_SECRET": SECRET,
        },
    )
    stage.prepare()
    stack.callback(stage.clear)
    world = processes.Child("outside", processes.python("benchmarks.outside"), cwd=stage.folder, talks=True)
    stack.callback(world.kill)
    return Round(stage=stage, world=world, port=int(world.answer(timeout_seconds=30)["port"]))


def _redis(one: Round, stack: ExitStack) -> int:
    port = catalog.free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    child = processes.Child("redis", command, cwd=one.stage.folder)
    stack.callback(child.kill)
    return port


def _connectors(
    one: Round,
    stack: ExitStack,
    kind: str,
    options: Mapping[str, Any],
    metrics_port: int,
    *,
    ids: Sequence[str] = ("bench",),
) -> processes.Child:
    file = one.stage.folder / "sources.yaml"
    source = {"kind": kind, "options": dict(options), "reconnect": {"base_seconds": 0.2, "max_seconds": 1}}
    file.write_text(json.dumps({"sources": [source | {"id": each} for each in ids]}))  # YAML without its aliases
    command = [str(catalog.HEADGATE), "connectors", str(file), "--metrics-port", str(metrics_port)]
    child = processes.Child("connectors", command, cwd=one.stage.folder, env=one.stage.environment())
    stack.callback(child.kill)
    return child


def _wait_until_connected(child: processes.Child, port: int, count: int = 1) -> None:
    until = time.monotonic() + 60
    while len(_CONNECTED.findall(_metrics(port))) < count:
        child.check()
        if time.monotonic() > until:
            raise processes.SideDied(f"not all its sources are connected after 60 s; its log says:\n{child.tail()}")
        time.sleep(0.05)


# ---- one run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What reads: its process, and where its metrics are (0: nowhere)."""

    name: str
    child: processes.Child
    metrics_port: int = 0


def _watching(one: Round, run: str, count: int, **options: float) -> processes.Child:
    command = processes.python("benchmarks.arrivals", "--bootstrap", one.stage.broker.bootstrap)
    command += ["--topic", one.stage.input, "--run", run, "--expected", str(count)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    child = processes.Child(f"arrivals-{run}", command, cwd=one.stage.folder, talks=True)
    child.answer(timeout_seconds=30)
    return child


def _flood(one: Round, side: Side, run: str, count: int, kind: Kind) -> dict[str, Any]:
    """Let events come as fast as they are taken."""
    watching = _watching(one, run, count, stall_seconds=60.0)  # 30,000 files come in scans, with long pauses
    acknowledged = one.acknowledged()
    found = _measured(one, side, watching, count, lambda: kind.make(one, run, count), from_begin=kind.counts_from_begin)
    if kind.acknowledges:
        found["unacknowledged"] = count - (one.acknowledged() - acknowledged)
    if kind.is_of_world:
        found["peer_cpu_us_per_event"] = found["outside_cpu_us_per_event"]
    return found | {"form": "flood"}


def _paced(one: Round, side: Side, seconds: float) -> dict[str, Any]:
    """Let events come in an open loop."""
    count = int(seconds * RATE)
    start_ns = time.monotonic_ns() + 2_000_000_000
    watching = _watching(one, PACED, count, rate=RATE, start_ns=start_ns, skip_seconds=min(2.0, seconds / 5))
    said: dict[str, Any] = {}
    found = _measured(
        one, side, watching, count, lambda: said.update(one.go(PACED, count, rate=RATE, start_ns=start_ns))
    )
    return found | {"form": "paced", "sent_late_ms": round(said["worst_lateness_ms"], 1)}


def _measured(
    one: Round,
    side: Side,
    watching: processes.Child,
    count: int,
    make: Callable[[], None],
    *,
    from_begin: bool = False,
) -> dict[str, Any]:
    named = rounds.pids(one.stage, [side.child], outside=one.world)
    before, acks = rounds.snapshot(named), _acknowledged(side)
    began_ns = time.monotonic_ns()
    make()
    arrived = watching.answer(timeout_seconds=600)
    spent = rounds.used(before, rounds.snapshot(named))
    side.child.check()
    return {
        "side": side.name,
        **{name: value for name, value in arrived.items() if name not in ("first_ns", "last_ns", "after_first")},
        **_rate(arrived, began_ns if from_begin else None),
        "cpu_us_per_event": round(spent[side.child.name]["cpu_seconds"] / count * 1e6, 1),
        "broker_cpu_us_per_event": _each(spent.get("broker"), count),
        "outside_cpu_us_per_event": _each(spent["outside"], count),
        "peak_rss_mb": spent[side.child.name]["peak_rss_mb"],
        **_ack_times(acks, _acknowledged(side)),
    }


def _rate(arrived: Mapping[str, Any], began_ns: int | None) -> dict[str, float]:
    """Return events per second from the first arrival to the last, or from a moment before all of them."""
    first_ns, last_ns = arrived["first_ns"], arrived["last_ns"]
    if last_ns is None:
        return {"seconds": 0.0, "per_second": 0}
    count = arrived["after_first"] if began_ns is None else arrived["distinct"]
    seconds = max(last_ns - (first_ns if began_ns is None else began_ns), 1) / 1e9
    return {"seconds": round(seconds, 3), "per_second": round(count / seconds)}


def _each(spent: Mapping[str, float] | None, count: int) -> float | None:
    return None if spent is None else round(spent["cpu_seconds"] / count * 1e6, 1)


# ---- schedules -------------------------------------------------------------------------------------------------------


def _schedules(given: plan.Plan, number: int) -> list[dict[str, Any]]:
    """Let many schedules be due at each second of a while."""
    seconds = 3 if given.quick else 10
    with ExitStack() as stack:
        one = _round(given, stack, f"cron{number}")
        metrics_port = catalog.free_port()
        ids = [f"bench-{each}" for each in range(SCHEDULES)]
        child = _connectors(one, stack, CRON, {"schedule": "* * * * * *"}, metrics_port, ids=ids)
        catalog.wait_until_ready(child, metrics_port)
        _wait_until_connected(child, metrics_port, SCHEDULES)
        side = Side(name="headgate", child=child, metrics_port=metrics_port)
        begin = int(time.time()) + 5
        command = processes.python("benchmarks.ticks", *_where(one)[:4], "--sources", str(SCHEDULES))
        command += ["--begin-ms", str(begin * 1_000), "--seconds", str(seconds)]
        watching = processes.Child("ticks", command, cwd=one.stage.folder, talks=True)
        watching.answer(timeout_seconds=4)
        named = rounds.pids(one.stage, [child])
        time.sleep(max(0.0, begin - 0.5 - time.time()))  # between two instants
        before, acks = rounds.snapshot(named), _acknowledged(side)
        time.sleep(max(0.0, begin + seconds - 0.5 - time.time()))
        spent, acks_after = rounds.used(before, rounds.snapshot(named)), _acknowledged(side)
        came = watching.answer(timeout_seconds=60)
        child.check()
    count = round(max(acks_after.values()) - max(acks.values(), default=0.0))
    return [
        {
            "kind": CRON,
            "side": side.name,
            "form": "ticks",
            "seconds": seconds,
            "per_second": SCHEDULES,
            **came,
            "cpu_us_per_event": round(spent[child.name]["cpu_seconds"] / count * 1e6, 1),
            "broker_cpu_us_per_event": _each(spent.get("broker"), count),
            "peak_rss_mb": spent[child.name]["peak_rss_mb"],
            **_ack_times(acks, acks_after),
        }
    ]


# ---- what the process says of itself ---------------------------------------------------------------------------------

_CONNECTED: Final = re.compile(r"^triggers_source_connected\{[^}]*\} 1\.0$", re.MULTILINE)
_BUCKET: Final = re.compile(r'^triggers_ack_seconds_bucket\{.*le="([^"]+)".*\} ([0-9.e+]+)$', re.MULTILINE)


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def _acknowledged(side: Side) -> dict[float, float]:
    return buckets(_metrics(side.metrics_port)) if side.metrics_port else {}


def buckets(text: str) -> dict[float, float]:
    """Return how many events were acknowledged within so many seconds of being read, by upper bound."""
    found: dict[float, float] = {}
    for bound, count in _BUCKET.findall(text):
        found[float(bound)] = found.get(float(bound), 0.0) + float(count)
    return found


def quantile(counts: Mapping[float, float], share: float) -> float | None:
    """Return the seconds within which a share of events lies, as Prometheus does: by proportion within a bucket."""
    bounds = sorted(counts)
    if not bounds or not counts[bounds[-1]]:
        return None
    wanted = share * counts[bounds[-1]]
    below, seen = 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= wanted:
            inside = counts[bound] - seen
            return below if bound == float("inf") else below + (bound - below) * (wanted - seen) / inside
        below, seen = bound, counts[bound]
    return below


def _ack_times(before: Mapping[float, float], after: Mapping[float, float]) -> dict[str, float | None]:
    counts = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    found = {name: quantile(counts, share) for name, share in (("ack_p50_ms", 0.5), ("ack_p99_ms", 0.99))}
    return {name: None if value is None else round(value * 1e3, 2) for name, value in found.items()}


# ---- bare sides, and webhooks ----------------------------------------------------------------------------------------


def _bare_socket(given: plan.Plan, number: int) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        one = _round(given, stack, f"bare-websocket{number}")
        command = processes.python("benchmarks.sides.bare_websocket", *_where(one))
        command += ["--url", f"ws://127.0.0.1:{one.port}/socket"]
        child = processes.Child("bare-websocket", command, cwd=one.stage.folder)
        stack.callback(child.kill)
        _wait_until_open(one, child)
        side = Side(name="bare", child=child)
        kind = KINDS["websocket"]
        count = kind.quick_events if given.quick else kind.events
        _flood(one, side, WARM, max(200, count // 20), kind)
        flood = _flood(one, side, FLOOD, count, kind)
        return [{"kind": "websocket", **flood}, {"kind": "websocket", **_paced(one, side, _paced_seconds(given))}]


def _where(one: Round) -> list[str]:
    return [
        *("--bootstrap", one.stage.broker.bootstrap, "--topic", one.stage.input),
        *("--partitions", str(one.stage.partitions)),
    ]


def _wait_until_open(one: Round, child: processes.Child) -> None:
    until = time.monotonic() + 30
    while True:
        child.check()
        with urllib.request.urlopen(f"{one.url}/", timeout=10) as answer:
            if json.load(answer)["sockets"]:
                return
        if time.monotonic() > until:
            raise processes.SideDied(f"{child.name} did not connect; its log says:\n{child.tail()}")
        time.sleep(0.05)


def deliveries(run: str, *, port: int) -> Iterator[bytes]:
    """Yield deliveries as GitHub sends them, signed, with ids that never repeat."""
    secret = SECRET.encode()
    for number, (_, body) in enumerate(events.events(run, 0, 10**8)):
        yield (
            f"POST {HOOK} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"X-GitHub-Event: push\r\nX-GitHub-Delivery: {outside.identity(run, number)}\r\n"
            f"X-Hub-Signature-256: sha256={hmac.digest(secret, body, hashlib.sha256).hex()}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body


def _hooks(given: plan.Plan, number: int) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        one = _round(given, stack, f"webhook{number}")
        metrics_port = catalog.free_port()
        options = {"provider": "github", "secret": "{{ env.OUTSIDE_SECRET }}"}
        declared = _connectors(one, stack, WEBHOOK, options, metrics_port, ids=["hook"])
        catalog.wait_until_ready(declared, metrics_port)
        port = catalog.free_port()
        command = [str(catalog.HEADGATE), "gateway", "--kafka", one.stage.broker.bootstrap, "--port", str(port)]
        child = processes.Child("gateway", command, cwd=one.stage.folder, env=one.stage.environment())
        stack.callback(child.kill)
        catalog.wait_until_ready(child, port)
        _wait_for_hook(child, port)
        declared.terminate()
        return _delivered(given, one, Side(name="headgate", child=child), port)


def _bare_hooks(given: plan.Plan, number: int) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        one = _round(given, stack, f"bare-webhook{number}")
        port = catalog.free_port()
        command = processes.python("benchmarks.sides.bare_webhook", *_where(one))
        command += ["--port", str(port), "--path", HOOK, "--secret", SECRET]
        child = processes.Child("bare-webhook", command, cwd=one.stage.folder)
        stack.callback(child.kill)
        _wait_for_hook(child, port)
        return _delivered(given, one, Side(name="bare", child=child), port)


def _wait_for_hook(child: processes.Child, port: int) -> None:
    """Wait until a delivery without a signature is denied as one: then the source is known."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        child.check()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{HOOK}", data=b"{}", timeout=10).close()
        except urllib.error.HTTPError as denied:
            with denied:
                if denied.code == 401:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise processes.SideDied(f"{child.name} does not know its webhook; its log says:\n{child.tail()}")


def _delivered(given: plan.Plan, one: Round, side: Side, port: int) -> list[dict[str, Any]]:
    uvloop.run(gateway.ask_with(deliveries(WARM, port=port), port, length=1, seconds=0.5))
    side.child.check()
    seconds = 2.0 if given.quick else 15.0
    watching = _watching(one, FLOOD, 10**9, stall_seconds=3.0)
    named = rounds.pids(one.stage, [side.child])
    before = rounds.snapshot(named)
    figures = uvloop.run(gateway.ask_with(deliveries(FLOOD, port=port), port, length=1, seconds=seconds))
    spent = rounds.used(before, rounds.snapshot(named))
    arrived = watching.answer(timeout_seconds=120)
    count = figures["acknowledged_events"]
    if not count:
        raise processes.SideDied(
            f"{side.name} refused all deliveries: {figures['refused']}; its log: {side.child.tail()}"
        )
    return [
        {
            "kind": "webhook",
            "side": side.name,
            "form": "flood",
            "per_second": figures["events_per_second"],
            "acknowledged": count,
            "refused": figures["refused"],
            "p50_ms": figures.get("p50_ms"),
            "p99_ms": figures.get("p99_ms"),
            "lost": count - arrived["distinct"],
            "doubled": arrived["doubled"],
            "cpu_us_per_event": round(spent[side.child.name]["cpu_seconds"] / max(1, count) * 1e6, 1),
            "broker_cpu_us_per_event": _each(spent.get("broker"), max(1, count)),
            "peak_rss_mb": spent[side.child.name]["peak_rss_mb"],
        }
    ]


# ---- medians and ratios ----------------------------------------------------------------------------------------------

FIGURES: Final = (
    *("per_second", "cpu_us_per_event", "broker_cpu_us_per_event", "peer_cpu_us_per_event", "peak_rss_mb"),
    "sent_late_ms",
)
TIMES: Final = ("p50_ms", "p99_ms", "p999_ms", "max_ms", "ack_p50_ms", "ack_p99_ms")


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return medians over the rounds by kind, form and side; ratios are those of one round."""
    table: dict[str, Any] = {}
    for key in dict.fromkeys((one["kind"], one["form"], one["side"]) for one in runs):
        mine = [one for one in runs if (one["kind"], one["form"], one["side"]) == key]
        row: dict[str, Any] = {"rounds": len(mine)}
        for name in (*FIGURES, *TIMES):
            values = [one[name] for one in mine if one.get(name) is not None]
            if values:
                row[name] = round(rounds.median(values), 2)
        worst = ("lost", "doubled", "unacknowledged")
        row |= {name: max(one[name] for one in mine) for name in worst if name in mine[0]}
        table["/".join(key)] = row
    for kind, form in dict.fromkeys((one["kind"], one["form"]) for one in runs if one["side"] == "bare"):
        for name, ratio in (("per_second", "rate_ratio"), ("cpu_us_per_event", "cpu_ratio")):
            pairs = [
                ours[name] / bare[name]
                for ours in runs
                for bare in runs
                if (ours["kind"], ours["form"], ours["side"]) == (kind, form, "headgate")
                and (bare["kind"], bare["form"], bare["side"], bare["round"]) == (kind, form, "bare", ours["round"])
                and ours.get(name)
                and bare.get(name)
            ]
            if pairs:
                table[f"{kind}/{form}/headgate"][ratio] = round(rounds.median(pairs), 2)
    return table
