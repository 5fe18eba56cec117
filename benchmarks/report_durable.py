"""The sections about durable runs of docs/benchmarks.md: each from the results of its mode. Called by `report`."""

from typing import Any

from benchmarks import durable_sides
from benchmarks.tables import table


def _durable(measured: dict[str, Any]) -> str:
    sides = measured["sides"]
    text = [
        "## Durable runs of three steps\n",
        (
            "Throughput: a closed loop with as many runs in flight as the side makes use of. Every answer is compared "
            "with what it must be; each step notes itself, so that one that ran twice would be seen. CPU and memory "
            "are those of the side's code and its store (broker, server, database) together; shared pages count once.\n"
        ),
    ]
    columns: tuple[str, ...]
    columns = ("side", "runs/s", "Headgate ÷ side", "in flight", "CPU ms/run", "MB", "lost", "wrong", "steps repeated")
    rows: list[tuple[Any, ...]] = []
    for name, one in _of(measured, "throughput"):
        ratio = f"{one['headgate_ratio']:.2f}" if one["headgate_ratio"] else ""
        faults = (one["lost"], one["wrong"], one["steps_repeated"])
        rate = f"{one['per_second']:,.0f}"
        in_flight = sides[name]["in_flight"]
        used = (one["cpu_ms_per_run"], f"{one['memory_mb']:,.0f}")
        rows.append((_side(measured, name), rate, ratio, in_flight, *used, *faults))
    text += [table(columns, rows), "By process:\n"]
    rows = [
        (_side(measured, name), process, used["cpu_ms_per_run"], f"{used['peak_rss_mb']:,.0f}")
        for name, one in _of(measured, "throughput")
        for process, used in one["processes"].items()
    ]
    text.append(table(("side", "process", "CPU ms/run", "peak MB (shared pages counted for each)"), rows))
    text.append(
        f"Latency: an open loop at {measured['rate']} runs/s, ms from the intended send time to the result. A side "
        "that cannot do that many shows its queue; hence once more at half of what it did in the closed loop.\n"
    )
    columns = ("side", "asked/s", "runs/s", "p50", "p99", "max", "lost", "wrong")
    names = ("rate", "per_second", "p50_ms", "p99_ms", "max_ms", "lost", "wrong")
    rows = [
        (_side(measured, name), *(one[column] for column in names))
        for form in ("latency", "half")
        for name, one in _of(measured, form)
    ]
    text += [table(columns, rows), _failures(measured)]
    return "\n".join(text)


def _waiting(measured: dict[str, Any]) -> str:
    text = (
        "## Waiting runs\n\nMemory of the processes that run the author's code, and with the store. A wake counts from "
        "the intended send time of its event to the workflow's next line; fresh runs: their throughput beside the "
        "waiting ones to that before; restart: kill -9 of these processes, and from their start to the first step of a "
        "fresh run.\n\n"
    )
    columns = (
        *("side", "waiting", "MB before", "MB", "with store before", "with store"),
        *("wake p50 ms", "p99", "missed", "fresh runs", "restart s"),
    )
    rows = [
        (
            _side(measured, name),
            f"{one['waiting']:,.0f}",
            f"{one['rss_mb_before']:,.0f}",
            f"{one['rss_mb']:,.0f}",
            f"{one['all_mb_before']:,.0f}",
            f"{one['all_mb']:,.0f}",
            one["wake_p50_ms"],
            one["wake_p99_ms"],
            one["missed"],
            one["fresh_ratio"],
            one["restart_seconds"],
        )
        for name, one in measured["summary"].items()
    ]
    return text + table(columns, rows) + _failures(measured)


_OF_TIMERS = {"timeouts": ", time-outs", "few": ", time-outs, 20 a second", "restarted": ", workers killed before"}


def _timers(measured: dict[str, Any]) -> str:
    text = (
        "## Timers\n\nSleeping runs, and others of which all fall due within one second: ms from the moment set to the "
        "workflow's next line. Time-outs are those of waits for an event that never comes, within one second or 20 a "
        "second. A side that keeps "
        "some functions in memory (Headgate: 10,000, `worker.suspended`) has none after its workers were killed: it "
        "calls all of those that fall due anew.\n\n"
    )
    columns = ("side", "pending", "due", "late p50", "p99", "max", "early", "missed", "twice", "MB")
    rows = [
        (
            _side(measured, name.partition("/")[0]) + _OF_TIMERS.get(name.partition("/")[2], ""),
            f"{one['pending']:,.0f}" if "pending" in one else "",
            f"{one['due']:,.0f}",
            *(one[column] for column in ("p50_ms", "p99_ms", "max_ms", "early", "missed", "twice")),
            f"{one['rss_mb']:,.0f}" if "rss_mb" in one else "",
        )
        for name, one in measured["summary"].items()
    ]
    return text + table(columns, rows) + _failures(measured)


def _calls(measured: dict[str, Any]) -> str:
    ways = {"http": "HTTP", "reply_topic": "Kafka, reply_topic"}
    rows = []
    for key, one in measured["summary"].items():
        name, _, over = key.partition("/")
        rows.append((_side(measured, name), ways[over], one["p50_ms"], one["p99_ms"], one["max_ms"], one["lost"]))
    text = (
        f"## Request and response\n\nA three-step run and its result at {measured['rate']}/s, open loop, ms from the "
        "intended send time.\n\n"
    )
    return text + table(("side", "over", "p50", "p99", "max", "lost"), rows) + _failures(measured)


def _journal(measured: dict[str, Any]) -> str:
    text = (
        f"## Step journal\n\nRuns of {measured['steps']:,} steps, one run at a time: µs from one step to the next, the "
        "median of each hundred.\n\n"
    )
    rows = [
        (
            _side(measured, name),
            *(f"{one['us_per_step_by_hundred'][at]:,.0f}" for at in (0, 4, -1)),
            one["last_to_first"],
        )
        for name, one in measured["summary"].items()
    ]
    columns = ("side", "steps 1 to 100", "401 to 500", "901 to 1,000", "last ÷ first")
    return text + table(columns, rows) + _failures(measured)


def _of(measured: dict[str, Any], form: str) -> list[tuple[str, dict[str, Any]]]:
    parts = ((key.partition("/"), one) for key, one in measured["summary"].items())
    return [(name, one) for (name, _, what), one in parts if what == form]


def _side(measured: dict[str, Any], name: str) -> str:
    """Return the title of a side of durable runs, and what it does before it acknowledges."""
    side = measured["sides"][name]
    return f"{side['title']}: {side['durability']}"


def _failures(measured: dict[str, Any]) -> str:
    """Tell what failed, and which sides were not there."""
    absent = [
        f"{side.title} ({side.durability})"
        for name, side in durable_sides.SIDES.items()
        if "sides" in measured and name not in measured["sides"]
    ]
    return "".join(
        [f"\n{one['label']} of {one['side']} failed and is not in the medians.\n" for one in measured["failures"]]
        + ([f"\nNot measured beside it: {', '.join(absent)}.\n"] if absent else [])
    )


SECTIONS = {
    "durable": _durable,
    "waiting": _waiting,
    "timers": _timers,
    "calls": _calls,
    "journal": _journal,
}
