import asyncio
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from app.kafka.embedded import EmbeddedKafka
from tests.integration.odd_headers import write_odd
from topics.keys import partition_of

Run = Callable[..., str]


def sent(run: Run, *arguments: str) -> list[tuple[str, int, int]]:
    lines = [orjson.loads(line) for line in run("send", *arguments, "--json").splitlines()]
    return [(line["id"], line["partition"], line["offset"]) for line in lines]


def tailed(run: Run, what: str = "events") -> list[dict[str, object]]:
    printed = run("tail", what, "--from-start", "--no-follow", "--json")
    return [orjson.loads(line) for line in printed.splitlines()]


def test_what_was_sent_is_tailed(run: Run) -> None:
    key_home, id_home = partition_of(b"customer-7", 8), partition_of(b"order-42", 8)
    assert sent(run, "orders/created", '{"a": 1}', "--key", "customer-7", "--type", "created") == [
        (f"{key_home}-0", key_home, 0)
    ]
    [(name, partition, _)] = sent(run, "orders/created", '"text"', "--id", "order-42")
    assert (name, partition) == ("order-42", id_home)
    [keyed] = [record for record in tailed(run) if record["key"] == "customer-7"]
    assert keyed["value"] == {"topic": "orders/created", "event_type": "created", "data": {"a": 1}}
    [by_id] = [record for record in tailed(run) if record["key"] is None]
    assert by_id["value"] == {"topic": "orders/created", "id": "order-42", "data": "text"}


def test_a_key_beats_the_id_in_choosing_the_partition(run: Run) -> None:
    [(_, partition, _)] = sent(run, "a", "1", "--key", "k", "--id", "i")
    assert partition == partition_of(b"k", 8)


def test_lines_of_standard_input_are_events_and_a_wrong_one_stops_no_other(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"n": 1}\n\nnot json\n{"n": 2}\n'))
    assert len(run("send", "a", "-", "--key", "k", "--json", code=1).splitlines()) == 2
    assert [record["value"] for record in tailed(run)] == [
        {"topic": "a", "data": {"n": 1}},
        {"topic": "a", "data": {"n": 2}},
    ]


def test_an_event_without_data_is_null(run: Run) -> None:
    run("send", "a")
    assert [record["value"] for record in tailed(run)] == [{"topic": "a", "data": None}]


def test_a_record_whose_headers_are_not_utf_8_is_tailed_with_what_comes_after(
    run: Run, kafka: EmbeddedKafka, kafka_prefix: str
) -> None:
    async def write() -> None:
        topic = f"{kafka_prefix}events"
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for _ in range(100):  # Python has optimised the reading of headers by then
                await producer.send_and_wait(topic, b"before", partition=0, headers=[("h", b"x")])
            await write_odd(producer, topic, b"odd", key=b"k")
            await producer.send_and_wait(topic, b"after", partition=0)

    asyncio.run(write())
    found = [(one["key"], one["value"], one["headers"]) for one in tailed(run)]
    assert found == [
        *[(None, "before", {"h": "x"})] * 100,
        ("k", "odd", None),
        (None, "after", {}),
    ]


def test_people_see_one_line_for_each_event(run: Run) -> None:
    run("send", "orders/created", '{"a": 1}', "--key", "k")
    [line] = run("tail", "events", "--from-start", "--no-follow").splitlines()
    assert line.endswith(' orders/created [k] {"a":1}')


def test_a_limit_ends_it(run: Run) -> None:
    for number in range(3):
        run("send", "a", str(number), "--key", "k")
    printed = run("tail", "events", "--from-start", "--limit", "2", "--json")
    assert [orjson.loads(line)["value"]["data"] for line in printed.splitlines()] == [0, 1]


@pytest.mark.parametrize("what", ["results", "runs", "dlq"])
def test_an_empty_topic_ends_at_once(run: Run, what: str) -> None:
    assert tailed(run, what) == []


def test_ctrl_c_ends_following_with_0_and_nothing_on_standard_error(run: Run) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli.main", "tail", "events", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ.copy(),
        text=True,
    ) as tail:
        assert tail.stdout is not None
        # The reader has no way to say that it follows, other than to show what comes: send until it does.
        line = ""
        while not line:
            run("send", "a", "1", "--key", "k")
            os.set_blocking(tail.stdout.fileno(), False)
            line = tail.stdout.readline()
            assert tail.poll() is None
        tail.send_signal(signal.SIGINT)
        _, errors = tail.communicate(timeout=30)
    assert (tail.returncode, errors) == (0, "")
    assert orjson.loads(line)["value"] == {"topic": "a", "data": 1}
