"""Dead letters, the records of `dlq`; and of those that their topic does not take whole, what is left and told.

Whoever writes to `dlq` asks for the shorter one when Kafka refuses a record as too large: the topic is set to smaller
ones than Headgate makes it for, and what is buried must neither be lost without a word nor end a process for ever.
"""

from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Any, Final

import orjson

from topics.codec import Headers
from topics.envelope import HEADER_BYTES, MAX_HEADERS
from topics.facts import Record
from topics.timestamps import rfc3339

_ESCAPES_MATTER_BYTES: Final = 64 * 1024
ORIGINAL_BYTES: Final = 3 * 1024 * 1024
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

    Beyond them, `omitted` tells its sizes: it is in the source topic until retention takes it. More headers than an
    event may have are omitted alone. Only records that came compressed can be too large otherwise.
    """
    letter = {
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
    about = [("content-type", b"application/json"), ("headgate-code", code.encode())]
    omitted = {"key": len(key or b""), "value": len(value or b""), "headers": len(headers)}
    if len(headers) > MAX_HEADERS:
        headers = ()
        ends["omitted"] = omitted
    size = omitted["key"] + omitted["value"] + sum(HEADER_BYTES + len(name) + len(raw or b"") for name, raw in headers)
    if size <= ORIGINAL_BYTES:
        encoded = orjson.dumps(letter | _original(key, value, headers) | ends)
        if len(encoded) + omitted["key"] <= LETTER_BYTES:
            return Record(key, encoded, about)
    ends["omitted"] = omitted
    return Record(None, orjson.dumps(letter | _original(None, None, ()) | ends), about)


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


def _original(key: bytes | None, value: bytes | None, headers: Headers) -> dict[str, Any]:
    key_text, key_encoding = _readable(key)
    value_text, value_encoding = _readable(value)
    header_texts = [(name, *_readable(raw)) for name, raw in headers]
    return {
        "key": key_text,
        "value": value_text,
        "headers": [[name, text] for name, text, _ in header_texts],
        "encoding": {"key": key_encoding, "value": value_encoding, "headers": [e for _, _, e in header_texts]},
    }


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
