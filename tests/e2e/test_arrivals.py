"""Events that come before, while and after a wait for them is registered, wherever they come from: each is seen."""

import json
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Producer

from tests.e2e import arrivals
from tests.e2e.service import Service, share_evenly
from tests.e2e.tally import Results, facts_of
from tests.e2e.test_producers import console_producer
from tests.e2e.waiting import until
from topics import keys

FLOWS: Final = Path(arrivals.__file__)
MOMENTS: Final = ("before", "while", "after")
KEYED: Final = ("its partition", "another partition", "the console producer")
"""Where the letter for a wait with a key comes from."""
KEYLESS: Final = ("no key", "another key", "another partition", "the console producer")
"""The same for a wait without one."""
CASES: Final = [
    (moment, keyed, origin)
    for moment in MOMENTS
    for keyed, origins in ((True, KEYED), (False, KEYLESS))
    for origin in origins
]
"""When the letter comes, whether the wait has its key, and where it comes from."""


class Post:
    """Sends what the cases need."""

    def __init__(self, service: Service, gate: Path) -> None:
        self._service, self._gate = service, gate
        self._producer = Producer({"bootstrap.servers": service.bootstrap, "acks": "all"})

    def _put(self, body: dict[str, object], key: str | None, partition: int | None = None) -> None:
        where: Any = {} if partition is None else {"partition": partition}
        self._producer.produce(self._service.topic("events"), json.dumps(body), key=key, **where)

    def begin(self, number: int) -> None:
        """Start the run of a case."""
        moment, keyed, _ = CASES[number]
        open_ = FLOWS  # a file that is there: no gate
        data = {
            "name": number,
            "gate": str(self._gate if moment == "before" else open_),
            "topic": _topic(number),
            "key": _key(number) if keyed else None,
        }
        self._put({"topic": "letters/awaited", "id": f"run-{number}", "data": data}, None)

    def letter(self, number: int) -> bytes | None:
        """Send the letter of a case, or return the line for the console producer."""
        _, keyed, origin = CASES[number]
        key = _key(number) if keyed else f"other-{number}" if origin.startswith("another") else None
        body: dict[str, object] = {"topic": _topic(number), "id": f"letter-{number}", "data": number}
        if origin == "the console producer":
            return json.dumps(body | ({"key": key} if keyed else {})).encode() + b"\n"
        partition = None
        if origin.endswith("partition"):
            assert key is not None
            home = keys.partition_of(key.encode(), self._service.partitions)
            partition = home if origin == "its partition" else (home + 1) % self._service.partitions
        self._put(body, key, partition)
        return None

    def letters(self, numbers: list[int]) -> None:
        """Send letters, and return once Kafka has them."""
        lines = [line for one in numbers if (line := self.letter(one)) is not None]
        self.flush()
        console_producer(self._service, b"".join(lines))

    def flush(self) -> None:
        assert self._producer.flush(30.0) == 0


def _topic(number: int) -> str:
    return f"letters/to/{number}"


def _key(number: int) -> str:
    return f"key-{number}"


def test_a_letter_is_seen_whenever_and_wherever_it_comes(service: Service, tmp_path: Path) -> None:
    gate, results = tmp_path / "gate", Results(service)
    post = Post(service, gate)
    workers = [service.start(name, flows=FLOWS).ready() for name in ("w0", "w1")]
    share_evenly(*workers)
    of = {moment: [n for n, case in enumerate(CASES) if case[0] == moment] for moment in MOMENTS}

    for number in (*of["before"], *of["after"]):
        post.begin(number)
    post.flush()
    post.letters(of["before"])  # their waits are behind the gate
    gate.touch()
    for number in of["while"]:  # its letter comes as soon as Kafka has the event that starts it
        post.begin(number)
        post.flush()
        post.letter(number)
    post.letters([n for n in of["while"] if CASES[n][2] == "the console producer"])

    def waiting() -> bool:
        return {f"run-{n}" for n in of["after"]} <= _waiting(service)

    until(waiting, 30.0, "the runs wait whose letters come after that", else_show=service.tails)
    post.letters(of["after"])

    def there() -> bool:
        return len(results.read_on()) >= len(CASES)

    def missing() -> str:
        found = {one["result"]["name"] for one in results.all if one["result"]}
        return f"without a letter: {[case for n, case in enumerate(CASES) if n not in found]}\n{service.tails()}"

    until(there, 30.0, "each run has its letter", else_show=missing)
    assert sorted((one["result"]["name"], one["result"]["letter"]) for one in results.all) == [
        (number, number) for number in range(len(CASES))
    ]
    for worker in workers:
        assert worker.stop() == 0


def _waiting(service: Service) -> set[str]:
    """Return the events whose runs wait for their letters."""
    facts = facts_of(service)
    return {facts.events[run] for run, step in facts.waiting if step == "letter"}
