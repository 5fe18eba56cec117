"""Event streams as npm's eventsource-parser reads them: the standard's odd corners, and streams that nobody sends."""

import base64
import json
import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from connectors.http_stream.parser import Event, Parser
from tests.fuzz.mutation import Mutator
from tests.fuzz.streams import STREAM_WORDS, STREAMS
from tests.peers.programs import PEERS
from tests.unit.connectors.http_stream.test_parser import CASES

HERE: Final = Path(__file__).parent
NODE: Final = shutil.which("node")
pytestmark = pytest.mark.skipif(
    NODE is None or not (PEERS / "node_modules/eventsource-parser").is_dir(),
    reason=f"eventsource-parser is not installed in {PEERS.name}/node_modules; tools/connector_peers.sh does it",
)
MOST: Final = 1024 * 1024
MOST_RETRY: Final = 2**53


def theirs(streams: Sequence[Sequence[bytes]]) -> list[dict[str, Any]]:
    assert NODE is not None
    asked = [[base64.b64encode(chunk).decode() for chunk in chunks] for chunks in streams]
    done = subprocess.run(
        [NODE, str(HERE / "eventsource_parser.cjs")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NODE_PATH": str(PEERS / "node_modules")},
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def ours(chunks: Sequence[bytes]) -> dict[str, Any]:
    parser = Parser(max_event_bytes=MOST)
    blocks = [block for chunk in chunks for block in parser.feed(chunk)]
    events = [[block.event_type, block.data, block.last_event_id] for block in blocks if isinstance(block, Event)]
    return {"events": events, "id": blocks[-1].last_event_id if blocks else "", "retry": parser.retry_ms}


@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "byte by byte"])
def test_both_read_the_cases_of_the_standard_alike(in_pieces: bool) -> None:
    streams = [stream for stream, _ in CASES.values()]
    cut = [[bytes([byte]) for byte in stream] if in_pieces else [stream] for stream in streams]

    assert [ours(chunks) for chunks in cut] == theirs(cut)


def test_both_read_streams_alike_that_are_changed_and_cut_anywhere() -> None:
    draw = Mutator(random.Random(7))
    streams = [draw.pieces(draw.raw(STREAMS, STREAM_WORDS, most=6)) for _ in range(20_000)]

    found = [(chunks, ours(chunks), read) for chunks, read in zip(streams, theirs(streams), strict=True)]

    # Beyond what JavaScript counts exactly, ours stays at a bound of its own.
    differ = [one for one in found if one[1] != one[2] and (one[2]["retry"] or 0) < MOST_RETRY]
    assert differ == []
    assert sum(len(one[1]["events"]) for one in found) > 20_000
