"""Hostile records against a running worker: each ends as a run or as a dead letter with its reason, and its partition
goes on.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from confluent_kafka import KafkaError, Message, Producer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.kafka.embedded import EmbeddedKafka
from tests.corpus.reader import CASES, MAX_BYTES, Case
from tests.e2e.service import Service, Worker
from tests.e2e.tally import Reader, dead_letters
from tests.e2e.test_producers import console_producer
from tests.e2e.waiting import until
from topics import codec, keys

EVERYTHING: Final = Path(__file__).parents[1] / "e2e" / "everything.py"
PATIENCE_SECONDS: Final = 40.0
MANY_HEADERS: Final = 18_000
"""So many small ones are in a dead letter in full."""
Headers = Sequence[tuple[str, bytes | None]]
Place = tuple[int, int]
"""Partition and offset in the events topic."""


class Sent(NamedTuple):
    """A record of the events topic, as it is there."""

    key: bytes | None
    value: bytes | None
    headers: Headers


@pytest.fixture
def service(kafka: EmbeddedKafka, kafka_prefix: str, tmp_path: Path) -> Iterator[Service]:
    with Service(kafka, kafka_prefix, tmp_path / "service") as service:
        yield service


@pytest.fixture
def worker(service: Service) -> Worker:
    return service.start("w0", flows=EVERYTHING).ready()


class RawProducer:
    """Writes bytes as they are, and after each record a good event to the same partition."""

    def __init__(self, service: Service) -> None:
        self._topic = service.topic("events")
        self._partitions = service.partitions
        self._producer = Producer(
            {"bootstrap.servers": service.bootstrap, "acks": "all", "message.max.bytes": 8 * 1024 * 1024}
        )
        self._refused: list[KafkaError] = []
        self.good = 0

    def send(self, record: Sent) -> None:
        partition = self.good % self._partitions
        good = json.dumps({"topic": "good", "id": f"good-{self.good}", "data": self.good}).encode()
        for key, value, headers in (record, Sent(b"good", good, ())):
            self._producer.produce(
                self._topic, value, key=key, partition=partition, headers=list(headers), on_delivery=self._delivered
            )
        self.good += 1
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused.append(error)

    def acknowledged(self) -> None:
        assert self._producer.flush(PATIENCE_SECONDS) == 0
        assert not self._refused


def _in_the_log(service: Service) -> dict[Place, Sent]:
    """Return all records of the events topic."""
    with Reader(service, "events", service.partitions) as reader:
        return {
            (one.partition(), one.offset()): Sent(one.key(), one.value(), tuple(one.headers() or ()))
            for one in reader.read_all()
        }


def _results(service: Service) -> dict[Place, str]:
    """Return topic and place of each event that has a result."""
    with Reader(service, "results", service.partitions) as reader:
        found = [json.loads(one.value()) for one in reader.read_all()]
    places = [(event["partition"], event["offset"]) for result in found for event in result["events"]]
    assert len(places) == len(set(places)), "an event has two results"
    assert {result["status"] for result in found} <= {"completed"}
    return {place: result["result"] for place, result in zip(places, found, strict=True)}


def _judged(sent: Sent, place: Place) -> str | bytes:
    """Return the code of a dead letter, or the identity of an event."""
    try:
        envelope = codec.decode(
            sent.value, sent.key, sent.headers,
            partition=place[0], offset=place[1], timestamp_ms=0, max_bytes=MAX_BYTES,
        )  # fmt: skip
    except codec.Malformed as wrong:
        return wrong.code
    return keys.digest_of(envelope)


def _confirm(service: Service, worker: Worker) -> dict[Place, str]:
    """Wait until all records are dealt with, and check each; return what became of it: "event" or a code."""
    there = _in_the_log(service)
    judged = {place: _judged(sent, place) for place, sent in there.items()}
    identities = [one for one in judged.values() if isinstance(one, bytes)]
    copies = len(identities) - len(set(identities))
    malformed = len(there) - len(identities)

    def dealt_with() -> bool:
        ended = worker.metric("headgate_runs_ended_total") + worker.metric("headgate_events_duplicate_total")
        return ended + worker.metric("headgate_events_malformed_total") >= len(there)

    until(dealt_with, PATIENCE_SECONDS, f"all {len(there)} records are dealt with", else_show=service.tails)
    assert worker.metric("headgate_events_duplicate_total") == copies
    assert worker.metric("headgate_events_malformed_total") == malformed
    until(lambda: len(_undecodable(service)) >= malformed, PATIENCE_SECONDS, "dead letters", else_show=service.tails)
    letters = _undecodable(service)
    assert len(letters) == malformed
    fates: dict[Place, str] = dict.fromkeys(_results(service), "event")
    for letter in letters:
        place = (letter["source"]["partition"], letter["source"]["offset"])
        _as_it_came(letter, there[place])
        assert letter["source"]["topic"] == service.topic("events")
        assert letter["reason"]
        assert letter["remedy"]
        fates[place] = letter["code"]
    assert list(fates.values()).count("event") == len(set(identities))
    wrong = {place: fates.get(place) for place, one in judged.items() if isinstance(one, str) and fates[place] != one}
    assert not wrong
    assert worker.alive
    return fates


def _undecodable(service: Service) -> list[dict[str, Any]]:
    """Return the dead letters of records; beside them are those of runs whose reply_topic is refused."""
    letters = dead_letters(service)
    assert {letter["code"] for letter in letters if letter["run_id"] is not None} <= {"reply_refused"}
    return [letter for letter in letters if letter["run_id"] is None]


def _as_it_came(letter: dict[str, Any], sent: Sent) -> None:
    """Check that a dead letter holds the original bytes."""

    def original(text: str | None, encoding: str | None) -> bytes | None:
        if text is None:
            return None
        return base64.b64decode(text) if encoding == "base64" else text.encode()

    assert original(letter["value"], letter["encoding"]["value"]) == sent.value
    assert original(letter["key"], letter["encoding"]["key"]) == sent.key
    told = zip(letter["headers"], letter["encoding"]["headers"], strict=True)
    headers = [(name, original(text, encoding)) for (name, text), encoding in told]
    assert headers == list(sent.headers[: len(headers)])
    if len(headers) < len(sent.headers):
        assert letter["omitted"]["headers"] == len(sent.headers) > MANY_HEADERS
    else:
        assert "omitted" not in letter


def _wrong_fates(fates: dict[Place, str], there: dict[Place, Sent], expected: dict[Sent, set[str]]) -> list[str]:
    """Return what ended otherwise than the corpus says. An event without a fate is a copy of another one."""
    wrong = []
    for place, sent in there.items():
        wanted = expected.get(sent)
        if wanted is not None and fates.get(place, "event") not in wanted:
            wrong.append(f"{sent.value!r:.80}: {fates.get(place)}, expected {wanted}")
    return wrong


def _by_record(cases: Iterable[Any]) -> dict[Sent, set[str]]:
    expected: dict[Sent, set[str]] = {}
    for case in cases:
        expected.setdefault(Sent(case.key, case.value, case.headers), set()).add(case.expected)
    return expected


def test_corpus_through_a_raw_producer(service: Service, worker: Worker) -> None:
    producer = RawProducer(service)
    for case in CASES:
        producer.send(Sent(case.key, case.value, case.headers))
    producer.acknowledged()
    fates = _confirm(service, worker)
    there = _in_the_log(service)
    assert len(there) == 2 * len(CASES)
    assert _wrong_fates(fates, there, _by_record(CASES)) == []
    good = [place for place, sent in there.items() if sent.key == b"good"]
    assert [fates[place] for place in good] == ["event"] * len(CASES), "a good event after each is a run"


def _is_text(value: bytes | None) -> bool:
    try:
        return value is not None and bool(value.decode())
    except UnicodeDecodeError:
        return False


def test_corpus_through_the_console_producer(service: Service, worker: Worker) -> None:
    cases = [case for case in CASES if case.fits_a_line and _is_text(case.value)]
    assert len(cases) > 100
    good = [json.dumps({"topic": "good", "id": f"good-{at}", "data": at}).encode() for at in range(len(cases))]
    given = [case.value or b"" for case in cases]
    lines = b"".join(line + b"\n" + after + b"\n" for line, after in zip(given, good, strict=True))
    console_producer(service, lines, "--command-property", "max.request.size=8388608")
    there = _in_the_log(service)
    assert sorted(sent.value or b"" for sent in there.values()) == sorted([*good, *given])
    fates = _confirm(service, worker)
    assert _wrong_fates(fates, there, _by_record(cases)) == []
    assert [fates[place] for place, sent in there.items() if sent.value in good] == ["event"] * len(good)


_NULL: Final = "~null~"
_BESIDE: Final = {
    "parse.headers": "true",
    "parse.key": "true",
    "null.marker": _NULL,
    "headers.delimiter": "~headers~",
    "headers.separator": "~next~",
    "headers.key.separator": "~is~",
    "key.separator": "~key~",
}
"""How the console producer reads headers, key and value from a line."""


def _as_line(case: Case) -> str | None:
    """Return a record with what is beside its value as one line, None where text cannot say it."""
    try:
        value, key, *headers = (
            _NULL if one is None else one.decode() for one in (case.value, case.key, *(raw for _, raw in case.headers))
        )
    except UnicodeDecodeError:
        return None
    names = [name for name, _ in case.headers]
    pairs = "~next~".join(f"{name}~is~{text}" for name, text in zip(names, headers, strict=True))
    line = f"{pairs or _NULL}~headers~{key}~key~{value}"
    return None if {"\n", "\r"} & set(line) or "" in names else line


def test_corpus_with_keys_headers_and_nulls_through_the_console_producer(service: Service, worker: Worker) -> None:
    cases = [case for case in CASES if case.key is not None or case.headers or case.value is None]
    lines = {line: case for case in cases if (line := _as_line(case)) is not None}
    sent = list(lines.values())
    assert len(sent) > 40
    assert any(case.value is None for case in sent)
    assert any(raw is None for case in sent for _, raw in case.headers)
    options = [text for name, value in _BESIDE.items() for text in ("--reader-property", f"{name}={value}")]
    written = "".join(f"{line}\n" for line in lines).encode()
    console_producer(service, written, *options, "--command-property", "max.request.size=8388608")
    there = _in_the_log(service)
    expected = _by_record(sent)
    assert set(there.values()) == set(expected)
    assert _wrong_fates(_confirm(service, worker), there, expected) == []


_LISTS: Final = ("cloud_event_batch", "not_an_object")


def test_corpus_through_http(service: Service, worker: Worker) -> None:
    gateway = service.gateway().ready()
    accepted: list[str] = []
    wrong: list[str] = []
    cases = [case for case in CASES if case.value is not None and case.key is None]
    cases = [case for case in cases if {name for name, _ in case.headers} <= {"content-type"}]
    for case in cases:
        value = case.value or b""
        given = {name.title(): raw.decode("latin-1") for name, raw in case.headers if raw is not None}
        status, body = gateway.post(value, given)
        answer = json.loads(body)
        if status == 202:
            accepted += [one["event_id"] for one in answer.get("events", [answer])]
        refused = status in (400, 413, 415, 422) and answer["error"]["code"] and answer["error"]["remedy"]
        # The gateway is stricter than the topic: it may refuse what is an event there. Lists alone it takes instead.
        takes = case.expected == "event" or (value.lstrip().startswith(b"[") and case.expected in _LISTS)
        if not (refused or (status == 202 and takes)):
            wrong.append(f"{case.name}: {status} {body[:200]!r}, expected {case.expected}")
    assert wrong == []
    assert len(accepted) > 20
    status, _ = gateway.post(b'{"topic": "good", "data": 1}')
    assert status == 202
    fates = _confirm(service, worker)
    there = _in_the_log(service)
    assert set(fates.values()) == {"event"}, "what is answered 202 becomes a run"
    ids = {json.loads(sent.value or b"{}").get("id") for sent in there.values()}
    assert set(accepted) <= ids
    assert gateway.stop() == 0


def test_records_of_nothing_but_headers_leave_the_first_that_fit(service: Service, worker: Worker) -> None:
    producer = RawProducer(service)
    for count in (257, MANY_HEADERS, 100_000):
        producer.send(Sent(b"k", b"v", [("ab", b"")] * count))
        producer.send(Sent(None, None, [("a", b"\xff")] * count))
    producer.acknowledged()
    fates = _confirm(service, worker)
    assert sorted(set(fates.values())) == ["event", "too_many_headers"]
    assert list(fates.values()).count("event") == producer.good


def test_event_of_1_mib_comes_through_every_part(service: Service, worker: Worker) -> None:
    """As a run with a batch behind it, forwarded, and as a dead letter in base64, which is a third larger."""
    producer = RawProducer(service)
    frame = len(b'{"topic":"big","data":""}')
    for at in range(service.partitions):
        filler = b"x" * (MAX_BYTES - frame - 3)
        producer.send(Sent(b"k%d" % at, b'{"topic":"big","data":"%b"}' % filler, ()))  # most land elsewhere
        producer.send(Sent(b"\xff" * 3, b"\xff" * (MAX_BYTES - 3), ()))
        producer.send(Sent(None, b"\xff" * MAX_BYTES, (("x", None),)))
    producer.acknowledged()
    fates = _confirm(service, worker)
    counts = {fate: list(fates.values()).count(fate) for fate in set(fates.values())}
    assert counts["event"] == service.partitions + producer.good
    assert sum(counts.values()) - counts["event"] == 2 * service.partitions


# --- generated ------------------------------------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_field_names = ("topic", "data", "name", "payload", "id", "key", "event_type", "created_at", "specversion", "source",
                "type", "subject")  # fmt: skip
_header_names = ("topic", "id", "key", "event_type", "ce_id", "ce_specversion", "ce_type", "ce_source", "content-type",
                 "traceparent", "reply_topic", "correlation_id", "x")  # fmt: skip
_almost = st.dictionaries(st.sampled_from(_field_names), _json | st.just("a/b"), max_size=8)
_body = (_almost | _json).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    """A body of which a few bytes were changed, or which ends too early."""
    value = bytearray(draw(_body))
    for at in draw(st.lists(st.integers(0, len(value) - 1), max_size=3)):
        value[at] = draw(st.integers(0, 255))
    return bytes(value[: draw(st.integers(0, len(value)))])


_records = st.builds(
    Sent,
    st.none() | st.binary(max_size=20) | st.text(max_size=10).map(lambda text: text.encode("utf-8", "ignore")),
    st.none() | st.binary(max_size=60) | _body | _damaged(),
    st.lists(
        st.tuples(st.sampled_from(_header_names), st.none() | st.binary(max_size=12) | st.just(b"1.0") | st.just(b"a")),
        max_size=4,
    ),
)


def test_generated_records_end_as_run_or_dead_letter(service: Service, worker: Worker) -> None:
    producer = RawProducer(service)

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(_records, min_size=1, max_size=20))
    def produce(records: list[Sent]) -> None:
        for record in records:
            producer.send(record)

    produce()
    producer.acknowledged()
    fates = _confirm(service, worker)
    there = _in_the_log(service)
    assert len(there) == 2 * producer.good
    assert all(fates[place] == "event" for place, sent in there.items() if sent.key == b"good")
    assert len(set(fates.values())) > 8, "the cases reach many of the reasons"
