"""Starts durable runs and takes their answers, one process for every side: over HTTP or over Kafka.

`closed` keeps `--in-flight` runs going for some seconds; `open` starts run n at `start + n / rate`, whatever became of
those before it, and counts its time from then (no coordinated omission). With `--fire` only the start of a run is
waited for. Prints `{"window": "began"}` and `{"window": "ended"}` at the ends of what is measured, then the figures.
"""

import argparse
import asyncio
import json
import selectors
import sys
import time
from collections.abc import Iterator
from typing import Any

import orjson
import uvloop
from confluent_kafka import OFFSET_END, Message, TopicPartition

from benchmarks import accounts, events, httpclient, load, watch
from benchmarks.sides import work

SECOND = 1_000_000_000
LEAD_NANOSECONDS = SECOND // 2
CONNECTIONS_OPEN_LOOP = 256
"""More than ever wait at once below saturation; beyond it, requests wait in line and their time counts."""


class Schedule:
    """When the next run may start, and when measuring begins and ends."""

    def __init__(self, given: argparse.Namespace, begin_ns: int) -> None:
        self._given = given
        self._begin_ns = begin_ns
        self._index = 0
        self.from_ns = begin_ns + int(given.warm_up_seconds * SECOND)
        self.until_ns = self.from_ns + int(given.seconds * SECOND)
        self.give_up_ns = self.until_ns + int(given.patience_seconds * SECOND)
        self._told = 0
        self.worst_lateness_ns = 0

    def next_due(self, now_ns: int, in_flight: int) -> int | None:
        """Return the time of the next run: past if it may start now, None if there is none until an answer comes."""
        if self._given.count and self._index >= self._given.count:
            return None
        due = max(now_ns, self._begin_ns)
        if self._given.how == "open":
            due = self._begin_ns + int(self._index * SECOND / self._given.rate)
        elif in_flight >= self._given.in_flight:
            return None
        return due if due < self.until_ns or self._given.count else None

    def started(self, due_ns: int, now_ns: int) -> None:
        """Note that the run that was due has been started."""
        self._index += 1
        self.worst_lateness_ns = max(self.worst_lateness_ns, now_ns - due_ns)

    def over(self, now_ns: int, in_flight: int) -> bool:
        """Say whether all is done, or as much as there is patience for; tell the harness what has begun or ended."""
        for told, (at_ns, what) in enumerate(((self.from_ns, "began"), (self.until_ns, "ended"))):
            if now_ns >= at_ns and self._told == told:
                self._told += 1
                watch.say(window=what, at_ns=at_ns)
        if now_ns >= self.give_up_ns:
            return True
        if in_flight:
            return False
        if self._given.count:
            return self._index >= int(self._given.count)
        return now_ns >= self.until_ns

    def close(self) -> None:
        """Tell of a window that nobody waited for: the driver had nothing left to do before its end."""
        for what in ("began", "ended")[self._told :]:
            watch.say(window=what, at_ns=self.from_ns if what == "began" else self.until_ns)


def stream(given: argparse.Namespace) -> Iterator[tuple[str, bytes, bytes]]:
    """Return the events of the command line."""
    data = json.loads(given.data)
    return events.durable_events(given.topic, given.run, given.first, 0, data=data, key_run=given.key_run)


def fault(kind: str, run_id: str, answer: Any) -> str:
    """Return what is wrong with an answer, "" if nothing is."""
    if kind == "order":
        expected: Any = work.shipped(run_id)
    elif kind == "any" or not isinstance(answer, dict):
        return "" if kind == "any" else f"answered {answer!r}"
    else:
        total = int(kind.removeprefix("steps="))
        expected = {"id": run_id, "total": total * (total + 1) // 2}
    return "" if answer == expected else f"answered {answer!r}, not {expected!r}"


def result(kind: str, run_id: str, answer: Any) -> str:
    """Return what is wrong with a result as Headgate tells it: a record or a response with status and result."""
    if answer.get("status") != "completed":
        return f"ended as {answer.get('status')!r}: {answer.get('error')!r}"
    return fault(kind, run_id, answer.get("result"))


async def over_http(given: argparse.Namespace) -> dict[str, Any]:
    """Drive a side that answers requests."""
    size = given.in_flight if given.how == "closed" else CONNECTIONS_OPEN_LOOP
    pool = httpclient.Pool("127.0.0.1", given.port, size=size)
    await pool.open()
    book = accounts.Accounts()
    something = asyncio.Event()
    token = f"authorization: Bearer {given.token}\r\n" if given.token else ""
    source = stream(given)
    schedule = Schedule(given, time.monotonic_ns() + LEAD_NANOSECONDS)
    check = result if given.enveloped else fault

    def ask(due_ns: int) -> None:
        run_id, key, body = next(source)
        if given.enveloped:  # a call takes the data alone
            body = json.dumps(json.loads(body)["data"]).encode()
        book.ask(run_id, due_ns)
        path = given.path.replace("{id}", run_id).replace("{key}", key.decode())
        # Of a workflow by its key the key is the identity, and Restate refuses a second one.
        idempotency = "" if "{" in given.path else f"idempotency-key: {run_id}\r\n"

        def answered(status: int, answer: bytes) -> None:
            wrong = "" if 200 <= status < 300 else f"status {status}: {answer[:200].decode(errors='replace')}"
            if not wrong and not given.fire:
                wrong = check(given.check, run_id, orjson.loads(answer))
            book.answer(run_id, time.monotonic_ns(), fault=wrong)
            something.set()

        pool.ask(httpclient.post("127.0.0.1", given.port, path, token + idempotency, body), answered)

    while not schedule.over(now := time.monotonic_ns(), book.in_flight):
        due = schedule.next_due(now, book.in_flight)
        if due is not None and due <= now:
            ask(due)
            schedule.started(due, now)
            continue
        something.clear()
        ends = [at for at in (due, schedule.from_ns, schedule.until_ns, schedule.give_up_ns) if at and at > now]
        try:
            async with asyncio.timeout((min(ends) - now) / SECOND):
                await something.wait()
        except TimeoutError:
            pass
    schedule.close()
    return summary(book, schedule)


def over_kafka(given: argparse.Namespace) -> dict[str, Any]:
    """Drive a side that reads and writes topics."""
    sink = load.producer(given.bootstrap, linger_ms=0)
    failures = load.Failures()
    sink.list_topics(given.input, timeout=10)
    answers = None
    if not given.fire:
        topic = given.reply_topic or given.results
        answers = watch.consumer(given.bootstrap, topic, offset=OFFSET_END, lowest_latency=True)
        # The end by number: "the end" is looked up at the first fetch, which may be after the first answers.
        ends = ((part, answers.get_watermark_offsets(part, timeout=30)[1]) for part in answers.assignment())
        answers.assign([TopicPartition(part.topic, part.partition, end) for part, end in ends])
    book = accounts.Accounts()
    source = stream(given)
    schedule = Schedule(given, time.monotonic_ns() + LEAD_NANOSECONDS)

    def take(record: Message | None) -> bool:
        if record is None or record.error() is not None:
            return record is not None
        answer = orjson.loads(record.value() or b"{}")
        run_id = str((answer.get("events") or [{"id": ""}])[0]["id"])
        book.answer(run_id, time.monotonic_ns(), fault=result(given.check, run_id, answer))
        return True

    while not schedule.over(now := time.monotonic_ns(), 0 if answers is None else book.in_flight):
        due = schedule.next_due(now, book.in_flight)
        if due is not None and due <= now:
            run_id, key, value = next(source)
            book.ask(run_id, due)
            headers = {"reply_topic": given.reply_topic, "correlation_id": run_id} if given.reply_topic else None
            load.produce(sink, given.input, value, key, headers=headers, on_delivery=failures)
            schedule.started(due, now)
            if answers is None:
                book.answer(run_id, now)
            continue
        sink.poll(0)
        left = 0.01 if due is None else min((due - now) / SECOND, 0.01)
        if answers is None:
            time.sleep(left)
        elif take(answers.poll(left)):
            while take(answers.poll(0)):
                pass
    schedule.close()
    if sink.flush(60) or failures.count:
        raise SystemExit(f"the broker refused {failures.count} events")
    return summary(book, schedule)


def summary(book: accounts.Accounts, schedule: Schedule) -> dict[str, Any]:
    """Return the figures, and how late the driver itself was at worst."""
    figures = book.summary(from_ns=schedule.from_ns, until_ns=schedule.until_ns)
    return {**figures, "driver_worst_lateness_ms": round(schedule.worst_lateness_ns / 1e6, 3)}


def main() -> None:
    """Entry of the process."""
    given = arguments(sys.argv[1:])
    if given.bootstrap:
        figures = over_kafka(given)
    elif given.how == "closed":
        figures = uvloop.run(over_http(given))
    else:
        # select() waits to the microsecond; epoll, and with it uvloop, to the millisecond, which would be measured.
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
            figures = runner.run(over_http(given))
    watch.say(**figures)


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("how", choices=["closed", "open"])
    parser.add_argument("--run", required=True, help="prefix of the ids")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--topic", default="bench/order", help="logical topic of the events")
    parser.add_argument("--data", default="{}", help="further fields of the data, as JSON")
    parser.add_argument("--key-run", default="", help="the key of each event is the id of that run's")
    parser.add_argument("--check", default="order", help="what to expect: order, steps=N, any")
    parser.add_argument("--fire", action="store_true", help="only start runs")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up-seconds", type=float, default=0.0)
    parser.add_argument("--patience-seconds", type=float, default=30.0, help="how long the last answers may take")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--count", type=int, default=0, help="so many runs, however long it takes")
    parser.add_argument("--port", type=int, help="HTTP")
    parser.add_argument("--path", default="/", help="{id} and {key} stand for the event's")
    parser.add_argument("--token", default="")
    parser.add_argument("--enveloped", action="store_true", help="the answer has status and result, as Headgate's")
    parser.add_argument("--bootstrap", help="Kafka")
    parser.add_argument("--input", default="")
    parser.add_argument("--results", default="")
    parser.add_argument("--reply-topic", default="")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
