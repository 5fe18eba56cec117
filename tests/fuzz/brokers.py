"""What other brokers hold: fields of Redis Streams and answers about them, records of other Kafka clusters."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from connectors import kafka
from connectors.base.contract import NotConnected, Unreadable
from connectors.kafka.mapping import Mapper
from connectors.redis import entries
from connectors.redis.entries import Form, Values
from connectors.redis.group import Group
from tests.fuzz.mutation import Mutator
from tests.fuzz.targets import Target, at_once, landed, named
from topics.provenance import INSTANCE, PROVIDER, RECEIVED_AT

NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)


async def _acknowledged() -> None:
    """Nobody hears of it."""


# ---- Redis -----------------------------------------------------------------------------------------------------------

PAIRS: Final = (
    b"type",
    b"sold",
    b"data",
    b'{"n": [1, {"a": "b"}]}',
    b"key",
    b"k",
    b"\xff",
    b"\xfe",
    b"",
    b"n",
    b"\x00",
)
FORMS: Final = tuple(
    Form(**options)
    for options in (
        {},
        {"values": Values.BASE64},
        {"data_field": "data", "type_field": "type", "key_field": "key"},
        {"data_field": "data", "values": Values.BASE64, "type_field": "\x00"},
    )
)
IDS: Final = ("1780000000000-0", "0-1", "9999999999999999-9", "99999999999999999999-0", "", "x", "-", "1780000000000")


def entry(draw: Mutator) -> tuple[str, list[bytes] | None, int]:
    pairs = [draw.raw(PAIRS, most=1) if draw.happens(0.3) else draw.pick(PAIRS) for _ in range(draw.below(7))]
    if draw.happens(0.5):
        pairs = [b"data", draw.json([{"n": 1}, [1]]), b"type", draw.raw((b"sold",)), b"key", draw.raw((b"k",)), *pairs]
    return draw.text(IDS), None if draw.happens(0.02) else pairs, draw.below(len(FORMS))


def check_entry(given: tuple[str, list[bytes] | None, int]) -> str:
    entry_id, pairs, form = given
    one = entries.Entry(stream="orders", id=entry_id, pairs=pairs)
    item = entries.read(one, FORMS[form], now=NOW, ack=_acknowledged)
    if isinstance(item, Unreadable):
        assert orjson.loads(item.raw) is not None
    return landed(item)


ANSWERS: Final[tuple[Any, ...]] = (
    [[b"orders", [[b"1-0", [b"a", b"b"]], [b"2-0", None], None]]],
    [b"0-0", [[b"1-0", [b"a", b"b"]]], [b"3-0"]],
    [b"5-0", []],
    [[b"1-0", b"e1@src", 7, 2]],
    [[b"name", b"e1@src", b"pending", 3, b"idle", 4]],
    None,
    [],
)
STRANGE: Final[tuple[Any, ...]] = (
    None,
    b"",
    b"\xff",
    7,
    -1,
    2**70,
    [],
    [[]],
    "text",
    {},
    1.5,
    True,
    [b"x"] * 3,
    b"1-0",
)


class Redis:
    """Gives answers in their order, whatever is asked."""

    def __init__(self, answers: list[Any]) -> None:
        self._answers = answers

    async def ask(self, *words: bytes | str | float) -> Any:
        if not self._answers:
            raise NotConnected("that was all", reason="over")
        return self._answers.pop(0)


def replies(draw: Mutator) -> tuple[int, list[Any]]:
    return draw.below(3), [draw.value(ANSWERS, strange=lambda: draw.pick(STRANGE)) for _ in range(4)]


def check_replies(given: tuple[int, list[Any]]) -> str:
    what, answers = given
    group = Group(Redis(list(answers)), name="g", consumer="e2@src")

    async def asked() -> int:
        if what == 0:
            return len(await group.new(["orders"], count=10, block_seconds=1))
        if what == 1:
            return len((await group.own("orders", after="0-0", count=10)).entries)
        return len((await group.claim("orders", idle_seconds=1, after="0-0", count=10)).entries)

    try:
        return "entries" if at_once(asked()) else "none"
    except NotConnected as error:
        return named(error)


# ---- Kafka -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """As aiokafka has it."""

    value: bytes | None
    key: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int | None
    topic: str = "orders"
    partition: int = 0
    offset: int = 5


MAPPERS: Final = tuple(
    Mapper.of(
        kafka.Config.model_validate({"bootstrap": ["h:9092"], "topics": ["orders"], **options}),
        cluster="c",
        instance_id="src",
    )
    for options in (
        {},
        {"value": "json", "type": "{{ value.type }}", "key": "{{ headers.h }}/{{ key }}"},
        {"value": "text", "type": "{{ topic }}.{{ value }}", "data": "record"},
        {"value": "base64", "key": "{{ timestamp }}-{{ offset }}", "own_events": "take"},
    )
)
VALUES: Final[tuple[Any, ...]] = ({"type": "sold", "n": [1, {"a": "b"}], "id": 7}, "text", 1.5, [1, None])
STAMPS: Final = (1_780_000_000_000, -1, None, 0, 253_402_300_799_999, 253_402_300_800_000, 2**63 - 1, -(2**63))
NAMES: Final = ("h", PROVIDER, INSTANCE, RECEIVED_AT, "ü", "")

Mapped = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]], int | None]


def record(draw: Mutator) -> Mapped:
    headers: list[tuple[str, bytes | None]] = [
        (draw.pick(NAMES), draw.pick((None, b"src", draw.raw((b"x", b"\xff")))))
        for _ in range(draw.pick((0, 0, 1, 2, 4)))
    ]
    value = draw.json(VALUES) if draw.happens(0.97) else None
    return draw.below(len(MAPPERS)), value, draw.pick((None, b"k", draw.raw((b"k",)))), headers, draw.pick(STAMPS)


def check_record(given: Mapped) -> str:
    number, value, key, headers, timestamp = given
    one = Record(value=value, key=key, headers=tuple(headers), timestamp=timestamp)
    mapper = MAPPERS[number]
    if mapper.is_own(one):
        return "own"
    return landed(mapper.event(one))


TARGETS: Final = (
    Target(name="redis-entries", make=entry, check=check_entry),
    Target(name="redis-replies", make=replies, check=check_replies),
    Target(name="kafka-records", make=record, check=check_record),
)
