"""Cost per event as the worker remembers more and more ids: CPU and memory at 10^4, 10^5, 10^6 and 10^7."""

from typing import Any

from benchmarks import catalog, plan, processes, rounds

MARKS = (10_000, 100_000, 1_000_000, 10_000_000)
QUICK_MARKS = (10_000, 100_000)
SIZE_BYTES = 160  # small events: the ids are what grows, and 10^7 of them must fit a disk
SAMPLE = 200_000
MEDIANS = ("cpu_us_per_event", "per_second", "rss_mb", "peak_rss_mb")


def run(given: plan.Plan) -> dict[str, Any]:
    """Bring the number of ids to each mark, then measure the events that come next; medians of the rounds."""
    runs: list[dict[str, Any]] = []
    for number in range(1, given.rounds + 1):
        runs += [{"round": number, **one} for one in _round(given, number)]
    summary: dict[str, dict[str, Any]] = {}
    for ids in dict.fromkeys(one["ids"] for one in runs):
        mine = [one for one in runs if one["ids"] == ids]
        medians = {name: round(rounds.median(one[name] for one in mine), 2) for name in MEDIANS}
        summary[str(ids)] = {"ids": ids, "sample": mine[0]["sample"], **medians}
    return {"event_bytes": SIZE_BYTES, "runs": runs, "summary": summary}


def _round(given: plan.Plan, number: int) -> list[dict[str, Any]]:
    side = catalog.SIDES["headgate"]
    settings = {"HEADGATE_DEDUP_MAX_IDS": "12000000"}
    runs: list[dict[str, Any]] = []
    stage = given.stage(side, f"dedup{number}", settings=settings)
    stage.prepare()
    counter = rounds.Counter(stage)
    worker = stage.start()
    sent = 0

    def feed(count: int) -> tuple[float, dict[str, Any]]:
        """Feed events; return how many seconds it took, and what each process used."""
        nonlocal sent
        goal = counter.count + count
        named = rounds.pids(stage, [], worker=worker)
        before = rounds.snapshot(named)
        producer = rounds.load(stage, "d-", count, first=sent, size_bytes=SIZE_BYTES)
        complete = counter.wait_for(goal, stall_seconds=60, alive=[worker])
        ended = counter.seen[-1][0]
        spent = rounds.used(before, rounds.snapshot(named))
        produced = producer.answer(timeout_seconds=60)
        if not complete:
            raise processes.SideDied(f"{goal - counter.count} results missing; the log says:\n{worker.tail()}")
        sent += count
        counter.seen = counter.seen[-1:]
        return ended - before.at, spent | {"load": produced["used"]}

    try:
        rounds.warm_up(stage, counter, [worker], partitions=stage.partitions)
        for mark in QUICK_MARKS if given.quick else MARKS:
            if mark > sent:
                feed(mark - sent)
            sample = min(SAMPLE, max(mark, 20_000))
            seconds, spent = feed(sample)
            figures = {
                "ids": mark,
                "sample": sample,
                "cpu_us_per_event": round(spent["worker"]["cpu_seconds"] / sample * 1e6, 2),
                "per_second": round(sample / seconds),
                "rss_mb": round(processes.rss(worker.pid) / 1e6, 1),
                "peak_rss_mb": spent["worker"]["peak_rss_mb"],
                "processes": spent,
            }
            runs.append(figures)
            rounds.say(
                f"  {mark:>10,} ids {figures['cpu_us_per_event']:>7.1f} us CPU/event {figures['rss_mb']:>8.1f} MB"
                f" {figures['per_second']:>8,} events/s"
            )
    finally:
        for child in (worker, counter.child):
            child.kill()
    stage.clear()
    return runs
