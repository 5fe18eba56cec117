"""One consumer of a group, command by command: what it asks, and what it makes of the answers."""

from typing import Any

import pytest

from connectors.base.contract import NotConnected, Refused
from connectors.redis.entries import Entry
from connectors.redis.group import Group, Page
from connectors.redis.link import GroupExists

ME = "e2@src"


class Script:
    """Answers commands in their order; whoever asks for something else is told so."""

    def __init__(self, *lines: tuple[str, Any]) -> None:
        self._lines = list(lines)

    async def ask(self, *words: bytes | str | float) -> Any:
        said = " ".join(word.decode() if isinstance(word, bytes) else str(word) for word in words)
        if said.startswith("EVAL "):
            said = f"EVAL … {said[-len('1 s g e1@src') :]}"
        expected, answer = self._lines.pop(0)
        assert said == expected
        if isinstance(answer, Exception):
            raise answer
        return answer

    def is_over(self) -> bool:
        return not self._lines


def group(script: Script) -> Group:
    return Group(script, name="g", consumer=ME)


def entry(entry_id: str, *pairs: bytes) -> Entry:
    return Entry(stream="s", id=entry_id, pairs=list(pairs))


async def test_a_group_is_created_with_its_stream_once() -> None:
    words = "XGROUP CREATE s g 0 MKSTREAM"
    script = Script((words, b"OK"), (words, GroupExists("BUSYGROUP")))
    assert [await group(script).create("s", start="0") for _ in range(2)] == [True, False]
    assert script.is_over()


async def test_new_entries_of_all_streams_are_asked_for_at_once() -> None:
    answer = [[b"a", [[b"1-0", [b"k", b"v"]]]], [b"b", [[b"2-0", []], [b"3-0", [b"k", b"w"]]]]]
    script = Script(("XREADGROUP GROUP g e2@src COUNT 5 BLOCK 1500 STREAMS a b > >", answer))
    assert await group(script).new(["a", "b"], count=5, block_seconds=1.5) == [
        Entry(stream="a", id="1-0", pairs=[b"k", b"v"]),
        Entry(stream="b", id="2-0", pairs=[]),
        Entry(stream="b", id="3-0", pairs=[b"k", b"w"]),
    ]


async def test_that_nothing_new_came_is_no_entry() -> None:
    script = Script(("XREADGROUP GROUP g e2@src COUNT 5 BLOCK 1000 STREAMS s >", None))
    assert await group(script).new(["s"], count=5, block_seconds=1) == []


async def test_own_entries_come_with_their_deliveries_and_those_that_are_gone_are_acknowledged() -> None:
    script = Script(
        ("XREADGROUP GROUP g e2@src COUNT 3 STREAMS s 0-0", [[b"s", [[b"1-0", [b"k", b"v"]], [b"2-0", None]]]]),
        ("XACK s g 2-0", 1),
        ("XPENDING s g 1-0 1-0 1000 e2@src", [[b"1-0", b"e2@src", 5, 4]]),
        ("XPENDING s g (1-0 1-0 1000 e2@src", []),
    )
    page = await group(script).own("s", after="0-0", count=3)
    assert page == Page(entries=[entry("1-0", b"k", b"v")], deliveries={"1-0": 4}, missed=1, after="2-0")
    assert script.is_over()


@pytest.mark.parametrize(
    ("answer", "missed"),
    [
        ([b"7-0", [[b"1-0", [b"k", b"v"]]], [b"3-0", b"4-0"]], 2),
        ([b"7-0", [[b"1-0", [b"k", b"v"]], None]], 0),  # Redis 6.2: it will be among the own ones
    ],
)
async def test_a_claim_goes_on_from_its_cursor(answer: Any, missed: int) -> None:
    script = Script(
        ("XAUTOCLAIM s g e2@src 60000 5-0 COUNT 3", answer),
        ("XPENDING s g 1-0 1-0 1000 e2@src", [[b"1-0", b"e2@src", 5, 2]]),
        ("XPENDING s g (1-0 1-0 1000 e2@src", []),
    )
    page = await group(script).claim("s", idle_seconds=60, after="5-0", count=3)
    assert page == Page(entries=[entry("1-0", b"k", b"v")], deliveries={"1-0": 2}, missed=missed, after="7-0")


async def test_ids_that_are_no_utf8_are_shown_as_they_can_be() -> None:
    script = Script(("XAUTOCLAIM s g e2@src 60000 5-0 COUNT 3", [b"\xff", []]))

    assert (await group(script).claim("s", idle_seconds=60, after="5-0", count=3)).after == "\ufffd"


def consumer(name: str) -> list[Any]:
    return [b"name", name.encode(), b"pending", 1, b"idle", 9]


async def test_only_what_owners_of_the_same_source_left_is_taken_over() -> None:
    names = ["e1@src", "e2@src", "e1@other", "src", "e9@e1@src", "somebody"]
    script = Script(
        ("XINFO CONSUMERS s g", [consumer(name) for name in names]),
        ("XPENDING s g - + 1000 e1@src", [[b"1-0", b"e1@src", 5, 1], [b"2-0", b"e1@src", 5, 1]]),
        ("XCLAIM s g e2@src 0 1-0 2-0 JUSTID", [b"1-0", b"2-0"]),
        ("XPENDING s g (2-0 + 1000 e1@src", []),
        ("EVAL … 1 s g e1@src", 1),
    )
    assert await group(script).take_over("s") == (2, 0)
    assert script.is_over()


async def test_what_cannot_be_taken_over_is_missed_unless_somebody_acknowledged_it_just_now() -> None:
    script = Script(
        ("XINFO CONSUMERS s g", [consumer("e1@src")]),
        ("XPENDING s g - + 1000 e1@src", [[b"%d-0" % number, b"e1@src", 5, 1] for number in (1, 2, 3)]),
        ("XCLAIM s g e2@src 0 1-0 2-0 3-0 JUSTID", [b"2-0"]),
        ("XRANGE s 1-0 1-0", []),
        ("XRANGE s 3-0 3-0", [[b"3-0", [b"k", b"v"]]]),
        ("XPENDING s g (3-0 + 1000 e1@src", []),
        ("EVAL … 1 s g e1@src", -1),
    )
    assert await group(script).take_over("s") == (1, 1)
    assert script.is_over()


async def test_names_stay_where_scripts_are_not_allowed_and_everything_is_taken_over_all_the_same() -> None:
    script = Script(
        ("XINFO CONSUMERS s g", [consumer("e0@src"), consumer("e1@src")]),
        ("XPENDING s g - + 1000 e0@src", []),
        ("XPENDING s g - + 1000 e1@src", [[b"1-0", b"e1@src", 5, 1]]),
        ("XCLAIM s g e2@src 0 1-0 JUSTID", [b"1-0"]),
        ("XPENDING s g (1-0 + 1000 e1@src", []),
        ("EVAL … 1 s g e0@src", Refused("NOPERM")),
    )
    assert await group(script).take_over("s") == (1, 0)
    assert script.is_over()


async def test_acknowledging_and_holding_name_entries() -> None:
    script = Script(("XACK s g 1-0 2-0", 2), ("XCLAIM s g e2@src 0 1-0 JUSTID", [b"1-0"]))
    await group(script).acknowledge("s", ["1-0", "2-0"])
    await group(script).hold("s", ["1-0"])
    assert script.is_over()


@pytest.mark.parametrize("answer", [7, b"x", [[b"s"]], [[b"s", [[b"1-0"]]]], [[b"s", [[b"1-0", [1]]]]]])
async def test_an_answer_of_another_form_is_no_answer_of_redis(answer: Any) -> None:
    script = Script(("XREADGROUP GROUP g e2@src COUNT 5 BLOCK 1000 STREAMS s >", answer))
    with pytest.raises(NotConnected, match="XREADGROUP is answered in another form") as end:
        await group(script).new(["s"], count=5, block_seconds=1)
    assert end.value.reason == "protocol"
