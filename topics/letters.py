"""Dead letters, the records of `dlq`; and of those that their topic does not take whole, what is left and told.

Whoever writes to `dlq` asks for the shorter one when Kafka refuses a record as too large: the topic is set to smaller
ones than Headgate makes it for, and what is buried must neither be lost without a word nor end a process for ever.
"""

from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Any, Final

import orjson

from topics.codec import Headers
from topics.envelope import HEADER_BYTES
from topics.facts import Record
from topics.timestamps import rfc3339

_ESCAPES_MATTER_BYTES: Final = 64 * 1024
ORIGINAL_BYTES: Final = 3 * 1024 * 1024
"""Of key, value and headers in memory: whoever reads a letter gets as many objects as the original has headers."""
LETTER_BYTES: Final = 5 * 1024 * 1024
"""Of one as JSON, and its key. Within the journal its JSON is text, and still fits (`topics.journal`)."""
REASON_CHARS: Final = 16 * 1024
"""Of its reason, which may quote what it is about."""
KEY_BYTES: Final = 256
"""Of a shortened one, as those that follow."""
HEADERS_BYTES: Final = 1024
"""Of headers as JSON, which are left out beyond it."""
SHORT_REASON_CHARS: Final = 500
NOTE: Final = (
    "the original is left out, since the topic of dead letters takes no larger record: raise its max.message.bytes"
)


def dead_letter(
    *,
    code: str,
    reason: str,
    remedy: str,
    source_topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    at_ms: int,
    run_id: str | None = None,
    workflow_id: str | None = None,
) -> Record:
    """Return the dead letter of a record, with the original in full as far as the bounds here allow it.

    Beyond them, `omitted` tells its sizes: it is in the source topic until retention takes it. Key and value are there
    or both omitted, which only records that came compressed need; of headers the first that fit beside them are there.
    """
    letter: dict[str, Any] = {
        "code": code,
        "reason": reason if len(reason) <= REASON_CHARS else f"{reason[:REASON_CHARS]}...",
        "remedy": remedy,
        "source": {
            "topic": source_topic,
            "partition": partition,
            "offset": offset,
            "timestamp": rfc3339(timestamp_ms),
        },
    }
    ends: dict[str, Any] = {"run_id": run_id, "workflow_id": workflow_id, "at": rfc3339(at_ms)}
    omitted = {"key": len(key or b""), "value": len(value or b""), "headers": len(headers)}
    ends["omitted"] = omitted
    weight, room = omitted["key"] + omitted["value"], -1
    if weight <= ORIGINAL_BYTES:
        letter |= _original(key, value)
        room = LETTER_BYTES - omitted["key"] - len(orjson.dumps(letter | ends))
    whole = room >= 0
    if not whole:
        key, weight = None, 0
        letter |= _original(None, None)
        room = LETTER_BYTES - len(orjson.dumps(letter | ends))
    kept = _fitting(headers, ORIGINAL_BYTES - weight, room)
    letter["headers"] = [[name, text] for name, text, _ in kept]
    letter["encoding"]["headers"] = [encoding for *_, encoding in kept]
    if whole and len(kept) == len(headers):
        del ends["omitted"]
    about = [("content-type", b"application/json"), ("headgate-code", code.encode())]
    return Record(key, orjson.dumps(letter | ends), about)


def shortened(letter: Record) -> Record:
    """Return a dead letter without the original's value, whose size and SHA-256 `omitted` tells: a few KB at most.

    Where the whole is, `source` says, as it always does. One that is shortened already comes back with the same bytes.
    """
    told: dict[str, Any] = orjson.loads(letter.value)
    encoding = told["encoding"]
    key, value = _bytes_of(told["key"], encoding["key"]), _bytes_of(told["value"], encoding["value"])
    omitted = {"key": len(key or b""), "value": len(value or b""), "headers": len(told["headers"])}
    omitted = told.get("omitted", omitted)
    if value is not None:
        omitted = omitted | {"value_sha256": sha256(value).hexdigest()}
    told |= {"value": None, "encoding": encoding | {"value": None}, "omitted": omitted}
    if len(told["key"] or "") > KEY_BYTES:
        told |= {"key": None, "encoding": told["encoding"] | {"key": None}}
    if len(orjson.dumps(told["headers"])) > HEADERS_BYTES:
        told |= {"headers": [], "encoding": told["encoding"] | {"headers": []}}
    if len(told["reason"]) > SHORT_REASON_CHARS + len("..."):
        told["reason"] = f"{told['reason'][:SHORT_REASON_CHARS]}..."
    if not told["remedy"].endswith(NOTE):
        told["remedy"] = f"{told['remedy'][:SHORT_REASON_CHARS]}; {NOTE}"
    kept = letter.key if letter.key is None or len(letter.key) <= KEY_BYTES else None
    return Record(kept, orjson.dumps(told), letter.headers)


def in_log(letter: Record) -> dict[str, Any]:
    """Return what a log has to say of a dead letter that is written nowhere."""
    told = orjson.loads(letter.value)
    return {name: told.get(name) for name in ("code", "reason", "source", "run_id", "workflow_id", "omitted")}


def _bytes_of(text: str | None, encoding: str | None) -> bytes | None:
    if text is None:
        return None
    return b64decode(text) if encoding == "base64" else text.encode()


def _original(key: bytes | None, value: bytes | None) -> dict[str, Any]:
    key_text, key_encoding = _readable(key)
    value_text, value_encoding = _readable(value)
    encoding: dict[str, Any] = {"key": key_encoding, "value": value_encoding, "headers": []}
    return {"key": key_text, "value": value_text, "headers": [], "encoding": encoding}


def _fitting(headers: Headers, weight: int, room: int) -> list[tuple[str, str | None, str | None]]:
    """Return names, texts and encodings of the first headers that fit: `weight` in memory, `room` in JSON."""
    kept: list[tuple[str, str | None, str | None]] = []
    for name, raw in headers:
        weight -= HEADER_BYTES + len(name) + len(raw or b"")
        if weight < 0:
            break
        text, encoding = _readable(raw)
        room -= len(orjson.dumps([name, text, encoding])) + len(",")
        if room < 0:
            break
        kept.append((name, text, encoding))
    return kept


def _readable(raw: bytes | None) -> tuple[str | None, str | None]:
    """Return (text, encoding) of original bytes: as they read, else base64.

    Large bytes that JSON would have to escape at length (a megabyte of zeros becomes six) are base64 as well, so that
    a dead letter always fits its topic.
    """
    if raw is None:
        return None, None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return b64encode(raw).decode(), "base64"
    if len(raw) > _ESCAPES_MATTER_BYTES and len(orjson.dumps(text)) > len(raw) * 4 // 3 + 4:
        return b64encode(raw).decode(), "base64"
    return text, "utf-8"
