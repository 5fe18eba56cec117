"""What is known of a folder as a position: all of it, for 100,000 files, within the bounds of a record."""

import json
import os
import random
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.file import snapshot
from connectors.file.folder import Seen
from connectors.file.selection import Selection
from connectors.file.snapshot import SHORT_BYTES, STATE_BYTES, Known, TooLarge, name_of, state_of
from topics.sources import POSITION_BYTES

MANY = 100_000
EVERYTHING = Selection(patterns=("*",), ignore=(), recursive=True)


def known(files: dict[str, bytes]) -> Known:
    return Known(folder="f", selection=EVERYTHING, inode=7, is_mount=True, files=files)


def states(paths: list[str]) -> dict[str, bytes]:
    chance = random.Random(1)
    return {path: chance.randbytes(STATE_BYTES) for path in paths}


def numbered() -> list[str]:
    return [f"inbox/2026/06/{number % 30:02}/order-{number:06}.json" for number in range(MANY)]


def unguessable() -> list[str]:
    chance = random.Random(1)
    return [f"{uuid.UUID(int=chance.getrandbits(128))}.pdf" for _ in range(MANY)]


@given(st.sets(st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)))
def test_a_position_is_read_as_it_was_written(names: set[bytes]) -> None:
    files = states([os.fsdecode(name) for name in names])
    position = orjson.loads(orjson.dumps(snapshot.encode(known(files))))

    found = snapshot.decode(position)
    assert found is not None
    assert (found.files, found.unnamed) == (files, {})
    assert (found.folder, found.inode, found.is_mount) == ("f", 7, True)
    assert found.selection.as_json() == EVERYTHING.as_json()


def test_names_that_are_no_text_stay_as_they_are() -> None:
    files = states(["caf\udce9.txt", "a\nb", "x" * 255, "x" * 254 + "y", "x" * 300 + "/z"])

    found = snapshot.decode(snapshot.encode(known(files)))
    assert found is not None
    assert found.files == files


@pytest.mark.parametrize(
    ("paths", "most_bytes", "with_names"),
    [
        (numbered, 900_000, True),
        (unguessable, 900_000, False),
        (unguessable, POSITION_BYTES, True),
    ],
)
def test_a_hundred_thousand_files_fit(paths: Any, most_bytes: int, with_names: bool) -> None:
    files = states(paths())

    position = snapshot.encode(known(files), most_bytes=most_bytes)
    assert len(orjson.dumps(position)) <= most_bytes
    assert ("names" in position) is with_names
    found = snapshot.decode(position)
    assert found is not None
    assert len(found) == MANY
    if with_names:
        assert found.files == files
    else:
        assert all(state[:SHORT_BYTES] in found.unnamed[name_of(path)] for path, state in files.items())


def test_names_that_did_not_fit_are_written_as_digests_again() -> None:
    first, *others = (random.Random(number).randbytes(200).hex() for number in range(3))
    some = known(states([first, *others]))
    position = snapshot.encode(some, most_bytes=500)
    assert "names" not in position

    found = snapshot.decode(position)
    assert found is not None
    assert snapshot.encode(found) == position
    found.files[first] = some.files[first]
    found.unnamed.pop(name_of(first))
    assert snapshot.encode(found) == position


def test_more_files_than_have_room_are_too_many() -> None:
    with pytest.raises(TooLarge, match="3 files are more than a position of 100 bytes"):
        snapshot.encode(known(states(["a", "b", "c"])), most_bytes=100)


def test_every_part_of_a_state_counts() -> None:
    assert len({state_of(Seen(*one)) for one in ((1, 2, 3), (9, 2, 3), (1, 9, 3), (1, 2, 9), (12, 3, 3))}) == 5


def test_no_position_is_nothing() -> None:
    assert snapshot.decode(None) is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"states": "%"},
        {"states": "AAAA"},
        {"names": 7},
        {"names": "AAAA"},
        {"selection": None},
        {"names": None, "upper": "AAAA", "lower": ""},
    ],
)
def test_what_is_no_position_is_told(change: dict[str, Any]) -> None:
    position = {**snapshot.encode(known(states(["a", "b"]))), **change}
    if change.get("names", "") is None:
        del position["names"]

    with pytest.raises(ValueError, match=r"."):
        snapshot.decode(json.loads(json.dumps(position)))
    with pytest.raises(ValueError, match="has not the fields"):
        snapshot.decode([])
