"""Kind `redis` as the frame finds it; what it does with a real server is in tests/peers/test_redis.py."""

from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import redis as connector
from connectors.base.contract import Delivery, NotConnected, Received, Refused
from tests.unit.connectors.redis.server import Failure, resp_server
from tests.unit.connectors.standing import StandIn, reading, until

URL = "redis://redis.test:6379/0"


def source(port: int, site: StandIn, **options: Any) -> connector.Source:
    site.addresses["redis.test"] = [("127.0.0.1", port)]
    given = {"url": f"redis://redis.test:{port}", "streams": ["s"], **options}
    return connector.Source(connector.Config.model_validate(given), site)


class Scripted:
    """A server whose group has nothing pending; answers by the first word, which a test may change."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[list[str]] = []
        self.answers = {"PING": "PONG", "XGROUP": "OK", "XACK": 1, "XAUTOCLAIM": [b"0-0", [], []], **answers}

    def __call__(self, words: list[str]) -> Any:
        self.asked.append(words)
        answer = self.answers.get(words[0], [])
        return answer(words) if callable(answer) else answer

    def count(self) -> Counter[str]:
        return Counter(words[0] for words in self.asked)


def one_new(words: list[str]) -> Any:
    return [[b"s", [[b"1-0", [b"k", b"v"]]]]] if words[-1] == ">" else []


def test_the_example_is_valid_and_the_kind_is_acknowledged() -> None:
    config = connector.Config.model_validate(connector.EXAMPLE)
    assert config.streams == ["orders"]
    assert connector.DELIVERY is Delivery.AT_LEAST_ONCE


def test_every_option_is_described() -> None:
    properties = connector.Config.model_json_schema()["properties"]
    assert [name for name, one in properties.items() if not one.get("description")] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "http://canary"}, "url begins with redis:// or, for TLS, rediss://"),
        ({"url": "redis://:canary@h/x"}, "no number of a database"),
        ({"streams": []}, "streams"),
        ({"start": "now"}, "start"),
        ({"claim_idle": 0.5}, "claim_idle"),
        ({"max_deliveries": 0}, "max_deliveries"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as error:
        connector.Config.model_validate({"url": URL, "streams": ["s"], **options})
    assert words in str(error.value)
    assert "canary" not in str(error.value)


def test_no_secret_is_shown() -> None:
    given = {"url": "redis://:canary@h", "streams": ["s"], "password": "canary"}
    config = connector.Config.model_validate(given)
    assert "canary" not in str(config.shown()) + repr(config)


async def test_each_owner_has_a_name_of_its_own_and_keeps_it_over_connections() -> None:
    script, site = Scripted(XREADGROUP=one_new), StandIn()
    async with resp_server(script) as port:
        for epoch in ("7", "8"):
            site.epoch = epoch
            if epoch == "7":
                one = source(port, site)
            async with reading(one, site) as read:
                await read.event()
        async with reading(source(port, site), site) as read:
            await read.event()
    names = [words[2:4] for words in script.asked if words[0] == "XREADGROUP" and words[-1] == ">"]
    assert names == [["headgate-src", "7@src"], ["headgate-src", "7@src"], ["headgate-src", "8@src"]]


async def test_group_and_consumer_may_be_named() -> None:
    script, site = Scripted(XREADGROUP=one_new), StandIn()
    options = {"group": "g", "consumer": "blue", "start": "$"}
    async with resp_server(script) as port, reading(source(port, site, **options), site) as read:
        await read.event()
    assert ["XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"] in script.asked
    assert script.asked[-1] == ["XACK", "s", "g", "1-0"]
    assert {words[3] for words in script.asked if words[0] == "XREADGROUP"} == {"e1@blue"}


async def test_many_acknowledgements_are_told_in_one_command() -> None:
    entries = [[b"%d-0" % number, [b"k", b"v"]] for number in range(1, 101)]
    script = Scripted(XREADGROUP=lambda words: [[b"s", entries]] if words[-1] == ">" else [])
    site = StandIn(real_time=True)
    async with resp_server(script) as port, reading(source(port, site), site) as read:
        items = [await read.next(settle=False) for _ in range(100)]
        for item in items:
            await read.settle(item)
        await until(lambda: script.count()["XACK"] == 1)
    (told,) = [words for words in script.asked if words[0] == "XACK"]
    assert told[3:] == [f"{number}-0" for number in range(1, 101)]


async def test_an_acknowledgement_that_is_not_allowed_fails_the_source() -> None:
    script = Scripted(XREADGROUP=one_new, XACK=Failure("NOPERM this user has no permissions to run 'xack'"))
    site = StandIn(real_time=True)
    async with resp_server(script) as port, reading(source(port, site), site) as read:
        assert isinstance(await read.to_its_end(), Refused)


@pytest.mark.parametrize("command", ["XGROUP", "XINFO", "XREADGROUP"])
async def test_a_server_that_loads_its_data_is_tried_again_by_the_frame(command: str) -> None:
    script, site = Scripted(**{command: Failure("LOADING Redis is loading the dataset in memory")}), StandIn()
    async with resp_server(script) as port, reading(source(port, site), site) as read:
        end = await read.to_its_end()
    assert isinstance(end, NotConnected)
    assert end.reason == "loading"
    assert script.count()[command] == 1


async def test_a_stream_that_vanishes_while_reading_begins_is_tried_again() -> None:
    script, site = Scripted(XINFO=Failure("NOGROUP No such consumer group")), StandIn()
    async with resp_server(script) as port, reading(source(port, site), site) as read:
        end = await read.to_its_end()
    assert isinstance(end, NotConnected)
    assert end.reason == "group_missing"
    assert site.connections == 0


async def test_a_claim_does_not_repeat_what_is_in_work() -> None:
    """It was given out on this connection and is still waiting for the broker."""
    claimed = [b"0-0", [[b"1-0", [b"k", b"v"]], [b"2-0", [b"k", b"w"]]], []]
    new = iter([[[b"s", [[b"1-0", [b"k", b"v"]]]]]])
    script = Scripted(XREADGROUP=lambda words: next(new, None) if words[-1] == ">" else [])
    site = StandIn()
    async with resp_server(script) as port, reading(source(port, site, claim_idle=60), site) as read:
        first = await read.next(settle=False)
        script.answers["XAUTOCLAIM"] = claimed
        site.advance(60)
        second = await read.next()
    assert isinstance(first, Received)
    assert isinstance(second, Received)
    assert (first.id, second.id) == ("s/1-0", "s/2-0")
