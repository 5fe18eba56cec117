"""What `headgate dev` tells its roles. It runs in tests/e2e/test_dev.py."""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.settings import Settings
from app.wiring import dev
from app.wiring.roles import CONNECTORS, GATEWAY, WORKER, Role
from tests.unit.app.wiring.addresses import needs_ipv6


def development(data: Path, *, workers: int = 1, given: Mapping[str, object] = {}) -> dev._Dev:
    settings = Settings.load({"gateway.port": 0, "worker.instance_id": "host", **given}, dev=True, environ={})
    plan = dev.Plan(
        paths=["flows.py"],
        sources=[],
        workers=workers,
        data=data,
        embedded=False,
        kafka_port=None,
        launcher=[],
        config=None,
    )
    return dev._Dev(settings, plan, asyncio.Event(), lambda *_: None)


def instance_ids(data: Path, *, workers: int = 1) -> list[str]:
    made = development(data, workers=workers)
    given = [role._environment.get("HEADGATE_WORKER_INSTANCE_ID") for role in made._make_roles()]
    return [name for name in given[:workers] if name is not None]


async def test_sessions_with_other_folders_have_other_instance_ids_and_keep_them(tmp_path: Path) -> None:
    [first] = instance_ids(tmp_path / "a")
    [second] = instance_ids(tmp_path / "b")
    assert first != second
    assert instance_ids(tmp_path / "b" / ".." / "a") == [first]
    assert (first[:9], first[-2:], len(first)) == ("host-dev-", "-1", 17)
    assert len(set(instance_ids(tmp_path / "a", workers=3))) == 3


async def test_each_role_is_asked_at_the_host_of_its_settings(tmp_path: Path) -> None:
    hosts = {"gateway.host": "127.0.0.4", "worker.metrics_host": "127.0.0.2", "connectors.metrics_host": "127.0.0.3"}
    roles = development(tmp_path, given=hosts)._make_roles()
    assert [(role.kind, role.host) for role in roles] == [
        (WORKER, "127.0.0.2"),
        (CONNECTORS, "127.0.0.3"),
        (GATEWAY, "127.0.0.4"),
    ]


@needs_ipv6
async def test_the_addresses_are_those_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = development(tmp_path, given={"gateway.host": "::1", "worker.metrics_host": "127.0.0.2"})
    made._roles = made._make_roles()

    async def ready(_role: object) -> int:
        return 9100

    monkeypatch.setattr(Role, "ready", ready)
    monkeypatch.setattr(dev._Dev, "_example", lambda _made: None)
    told: list[dev.Addresses] = []
    await made._tell_when_ready(told.append, [])
    assert told == [
        dev.Addresses(
            gateway=f"http://[::1]:{made._port}",
            kafka="127.0.0.1:9092",
            metrics=("http://127.0.0.2:9100/metrics",),
            example=None,
        )
    ]


async def test_a_port_that_is_taken_at_the_host_of_the_gateway_is_named_with_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(dev.GatewayPortTaken, match=rf"^Port {port} of 127\.0\.0\.2 is taken by .*--port"):
            development(tmp_path, given={"gateway.host": "127.0.0.2", "gateway.port": port})


@pytest.mark.parametrize(("path", "reason"), [("file", "a file has that name"), ("file/below", "Not a directory")])
async def test_a_data_folder_that_cannot_be_one_is_told_with_its_remedy(path: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(dev.NoFolder) as raised:
        await development(tmp_path / path).run(lambda _: None, lambda _: None)
    assert str(raised.value) == (
        f"{tmp_path / path} cannot be the folder of what is kept: {reason}. Name one that is there or can be made with "
        "--data, such as --data .headgate"
    )
