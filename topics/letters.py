"""Dead letters that their topic does not take whole: what is left of them, and what is told of the rest.

Whoever writes to `dlq` asks for it when Kafka refuses a record as too large: the topic is set to smaller ones than
Headgate makes it for, and what is buried must neither be lost without a word nor end a process again and again.
"""

from base64 import b64decode
from hashlib import sha256
from typing import Any, Final

import orjson

from topics.facts import Record

KEY_BYTES: Final = 256
HEADERS_BYTES: Final = 1024
"""Of headers as JSON, which are left out beyond it."""
REASON_CHARS: Final = 500
NOTE: Final = (
    "the original is left out, since the topic of dead letters takes no larger record: raise its max.message.bytes"
)


def shortened(letter: Record) -> Record:
    """Return a dead letter without the original's value, whose size and SHA-256 `omitted` tells: a few KB at most.

    Where the whole is, `source` says, as it always does. One that is shortened already comes back with the same bytes.
    """
    told: dict[str, Any] = orjson.loads(letter.value)
    encoding = told["encoding"]
    key, value = _original(told["key"], encoding["key"]), _original(told["value"], encoding["value"])
    omitted = {"key": len(key or b""), "value": len(value or b""), "headers": len(told["headers"])}
    omitted = told.get("omitted", omitted)
    if value is not None:
        omitted = omitted | {"value_sha256": sha256(value).hexdigest()}
    told |= {"value": None, "encoding": encoding | {"value": None}, "omitted": omitted}
    if len(told["key"] or "") > KEY_BYTES:
        told |= {"key": None, "encoding": told["encoding"] | {"key": None}}
    if len(orjson.dumps(told["headers"])) > HEADERS_BYTES:
        told |= {"headers": [], "encoding": told["encoding"] | {"headers": []}}
    if len(told["reason"]) > REASON_CHARS + len("..."):
        told["reason"] = f"{told['reason'][:REASON_CHARS]}..."
    if not told["remedy"].endswith(NOTE):
        told["remedy"] = f"{told['remedy'][:REASON_CHARS]}; {NOTE}"
    kept = letter.key if letter.key is None or len(letter.key) <= KEY_BYTES else None
    return Record(kept, orjson.dumps(told), letter.headers)


def in_log(letter: Record) -> dict[str, Any]:
    """Return what a log has to say of a dead letter that is written nowhere."""
    told = orjson.loads(letter.value)
    return {name: told.get(name) for name in ("code", "reason", "source", "run_id", "workflow_id", "omitted")}


def _original(text: str | None, encoding: str | None) -> bytes | None:
    if text is None:
        return None
    return b64decode(text) if encoding == "base64" else text.encode()
