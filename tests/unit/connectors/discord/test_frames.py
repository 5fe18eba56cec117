"""Payloads of the gateway."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.discord import frames
from connectors.discord.frames import (
    Acked,
    BeatAsked,
    Dispatched,
    Hello,
    Invalidated,
    ReconnectAsked,
    TooLarge,
    Undecodable,
    Unknown,
    decode,
)
from connectors.discord.session import MAX_ID_LENGTH

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"op": 10, "d": {"heartbeat_interval": 41250}}, Hello(interval_seconds=41.25)),
        ({"op": 11}, Acked()),
        ({"op": 1, "d": None}, BeatAsked()),
        ({"op": 7, "d": None}, ReconnectAsked()),
        ({"op": 9, "d": True}, Invalidated(resumable=True)),
        ({"op": 9, "d": False}, Invalidated(resumable=False)),
        ({"op": 9}, Invalidated(resumable=False)),
        (
            {"op": 0, "s": 7, "t": "MESSAGE_CREATE", "d": {"id": "1"}},
            Dispatched(seq=7, name="MESSAGE_CREATE", data={"id": "1"}),
        ),
        ({"op": 0, "s": 1, "t": "RESUMED"}, Dispatched(seq=1, name="RESUMED", data=None)),
        ({"op": 12, "d": {}}, Unknown(op=12)),
    ],
)
def test_each_opcode_is_a_value(payload: dict[str, Any], expected: frames.Frame) -> None:
    assert decode(json.dumps(payload)) == expected
    assert decode(json.dumps(payload).encode()) == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        ("[]", "no opcode"),
        ('{"op": "0"}', "no opcode"),
        ('{"op": true}', "no opcode"),
        ('{"op": 0, "t": "X", "s": null, "d": {}}', "no sequence number"),
        ('{"op": 0, "t": "X", "s": -1, "d": {}}', "no sequence number"),
        ('{"op": 0, "t": "X", "s": 9007199254740992, "d": {}}', "no sequence number"),
        ('{"op": 0, "s": 1, "d": {}}', "no name"),
        ('{"op": 0, "s": 1, "t": "a/b", "d": {}}', "no name"),
        ('{"op": 0, "s": 1, "t": "", "d": {}}', "no name"),
        ('{"op": 10, "d": {}}', "no heartbeat interval"),
        ('{"op": 10, "d": {"heartbeat_interval": 0}}', "no heartbeat interval"),
        ('{"op": 10, "d": {"heartbeat_interval": true}}', "no heartbeat interval"),
        ('{"op": 10}', "no heartbeat interval"),
    ],
)
def test_what_is_no_payload_is_told_with_the_reason_alone(raw: str | bytes, reason: str) -> None:
    with pytest.raises(Undecodable, match=reason) as told:
        decode(raw)
    assert str(raw) not in str(told.value)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_bytes_raise_anything_else(raw: str | bytes) -> None:
    try:
        decode(raw)
    except Undecodable:
        pass


@given(st.fixed_dictionaries({}, optional={"op": st.integers(-2, 40) | JSON, "s": JSON, "t": JSON, "d": JSON}))
def test_no_shape_raises_anything_else(payload: dict[str, Any]) -> None:
    try:
        decode(json.dumps(payload))
    except Undecodable:
        pass


def test_identify_says_who_what_and_which_shard() -> None:
    assert json.loads(frames.identify(token="t", intents=513, shard=(1, 4))) == {
        "op": 2,
        "d": {
            "token": "t",
            "intents": 513,
            "properties": {"os": "linux", "browser": "headgate", "device": "headgate"},
            "shard": [1, 4],
        },
    }
    assert "shard" not in json.loads(frames.identify(token="t", intents=513, shard=None))["d"]


def test_resume_and_heartbeat_say_the_number() -> None:
    resume = {"op": 6, "d": {"token": "t", "session_id": "s", "seq": 1337}}
    assert json.loads(frames.resume(token="t", session_id="s", seq=1337)) == resume
    assert json.loads(frames.heartbeat(251)) == {"op": 1, "d": 251}
    assert json.loads(frames.heartbeat(None)) == {"op": 1, "d": None}


def test_nothing_above_4096_bytes_is_sent_and_the_refusal_has_no_secret() -> None:
    longest = frames.resume(token='"' * 512, session_id="\x00" * MAX_ID_LENGTH, seq=frames.MAX_SEQ - 1)
    assert len(longest) <= 4096
    with pytest.raises(TooLarge, match=r"^a payload of opcode 6 has \d+ bytes, and Discord takes 4096$"):
        frames.resume(token="t" * 4096, session_id="s", seq=1)
