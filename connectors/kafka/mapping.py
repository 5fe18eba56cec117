"""A record of Kafka to an event: what its id, type, key and data are. Pure."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import orjson

from connectors.base.contract import Received, Unreadable
from connectors.base.texts.templates import Template, TemplateError
from connectors.kafka.config import FIELDS, Config
from topics.provenance import INSTANCE, PROVIDER, RECEIVED_AT
from topics.timestamps import MAX_MS, rfc3339

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_OURS: Final = frozenset({PROVIDER, INSTANCE, RECEIVED_AT})


class Record(Protocol):
    """What is read of a record; aiokafka's ConsumerRecord is one."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int | None:
        """Milliseconds since 1970; -1 or None without one."""
        ...

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class _NotReadable(Exception):
    """The value is not what the options say it is."""


@dataclass(frozen=True, slots=True)
class Mapper:
    """Makes events of the records of one cluster."""

    config: Config
    cluster: str
    instance_id: str
    type: Template
    key: Template | None

    @classmethod
    def of(cls, config: Config, *, cluster: str, instance_id: str) -> "Mapper":
        key = None if config.key is None else Template.parse(config.key, roots=FIELDS)
        return cls(config, cluster, instance_id, Template.parse(config.type, roots=FIELDS), key)

    def is_own(self, record: Record) -> bool:
        """Whether a source of Headgate wrote it, so that it is not to be read: it would go in circles."""
        names = {name for name, _ in record.headers}
        if not names >= _OURS:
            return False
        return self.config.own_events == "skip" or (INSTANCE, self.instance_id.encode()) in record.headers

    def id_of(self, record: Record) -> str:
        """Return the id of a record. It has the time in it: a topic that is made anew counts from 0 again."""
        return f"{self.cluster}/{record.topic}/{record.partition}/{record.offset}/{_ms(record)}"

    def event(self, record: Record) -> Received | Unreadable:
        """Return the event of a record, without a position."""
        name = self.id_of(record)
        key = None if record.key is None else _text(record.key)
        try:
            value = self._value(record.value)
            scope = {
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "timestamp": rfc3339(record.timestamp or 0),
                "key": key,
                "headers": {header: None if raw is None else _text(raw) for header, raw in record.headers},
                "value": value,
            }
            event_type = self.type.render(scope)
            if self.key is not None:
                key = self.key.render(scope)
        except (_NotReadable, TemplateError) as error:
            where = f"the record {record.topic}/{record.partition}/{record.offset}"
            return Unreadable(id=name, reason=f"{where}: {error}", raw=record.value or b"")
        return Received(
            id=name,
            event_type=event_type,
            data=scope if self.config.data == "record" else value,
            key=key,
            created_at=_created_at(_ms(record)),
        )

    def _value(self, raw: bytes | None) -> Any:
        how = self.config.value
        if raw is None:
            return None
        if how in ("auto", "json"):
            try:
                return orjson.loads(raw)
            except orjson.JSONDecodeError as error:
                if how == "json":
                    raise _NotReadable(f"its value is not JSON ({error.msg}); option value is 'json'") from None
        if how in ("auto", "text"):
            try:
                return raw.decode()
            except UnicodeDecodeError as error:
                if how == "text":
                    wrong = f"{error.reason} at byte {error.start}"
                    raise _NotReadable(f"its value is not UTF-8 ({wrong}); option value is 'text'") from None
        encoded = base64.b64encode(raw).decode()
        return encoded if how == "base64" else {"base64": encoded}


def _text(raw: bytes) -> str:
    """Return bytes as text where they are, else in base64."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode()


def _ms(record: Record) -> int:
    return -1 if record.timestamp is None else record.timestamp


def _created_at(ms: int) -> datetime | None:
    return _EPOCH + timedelta(milliseconds=ms) if 0 <= ms <= MAX_MS else None
