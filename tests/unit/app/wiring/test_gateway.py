"""How the gateway is put together. It runs in tests/integration/test_gateway_events.py."""

import asyncio
from pathlib import Path

import pytest

from app.kafka.follow import Follower
from app.settings import Settings, SettingsError
from app.ui.file import ReadModelInUse
from app.ui.readmodel import ReadModel
from app.wiring import gateway


def settings(**overrides: object) -> Settings:
    given = {name.replace("__", "."): value for name, value in overrides.items()}
    return Settings.load({"gateway.port": 0, "kafka.bootstrap": "127.0.0.1:1"} | given, dev=True, environ={})


async def test_without_a_token_nothing_starts() -> None:
    with pytest.raises(SettingsError, match="HEADGATE_GATEWAY_TOKEN") as refused:
        await gateway.run(settings(gateway__token="none"), stop=asyncio.Event())
    assert refused.value.exit_code == 2


async def test_a_read_model_in_use_is_told_and_the_port_given_back(tmp_path: Path) -> None:
    model = ReadModel(tmp_path / "model.sqlite")
    heard: list[str] = []
    given = settings(gateway__read_model=str(tmp_path / "model.sqlite"))
    try:
        with pytest.raises(ReadModelInUse):
            await gateway.run(given, stop=asyncio.Event(), listening=heard.append)
    finally:
        await model.close()
    assert heard == []


async def test_stop_ends_it_also_when_kafka_was_never_there() -> None:
    stop = asyncio.Event()
    heard: list[str] = []
    stop.set()
    async with asyncio.timeout(30):
        await gateway.run(settings(), stop=stop, listening=heard.append)
    assert heard[0].startswith("http://127.0.0.1:")


async def test_a_part_that_ends_by_itself_ends_the_gateway_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it was cancelled by something in it: a gateway without it would show yesterday's world."""

    async def ended(_self: Follower) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(Follower, "run", ended)
    async with asyncio.timeout(30):
        with pytest.raises(RuntimeError, match="ended, though nobody stopped them"):
            await gateway.run(settings(), stop=asyncio.Event())


async def test_a_follower_that_is_not_attached_is_reported_with_its_reason() -> None:
    async def ignore(_records: object) -> None:
        return None

    follower = Follower("headgate.workflows", client={}, take=ignore)
    assert gateway._attached(follower).up is False
    follower.last_error = "Topic headgate.workflows does not exist."
    assert "does not exist" in gateway._attached(follower).detail


def test_the_cause_itself_is_raised_from_a_group() -> None:
    error = ValueError("inner")
    assert gateway._innermost(ExceptionGroup("outer", [ExceptionGroup("middle", [error])])) is error
