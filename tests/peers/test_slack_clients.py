"""Slack's own clients against the Slack that our tests use: what they understand of it is what Slack is.

Python's come with `tools/connector_peers.sh`; JavaScript's are looked for in `node_modules` beside them.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from tests.peers.programs import PEERS
from tests.unit.connectors.standing import until

HERE: Final = Path(__file__).parent
PYTHON: Final = PEERS / "bin" / "python"
SECONDS: Final = 30.0


def command(flavour: str) -> list[str]:
    """How a client is started; skips the test where it is not installed."""
    if flavour == "node":
        node = shutil.which("node")
        if node is None or not (PEERS / "node_modules" / "@slack" / "socket-mode").is_dir():
            pytest.skip(f"@slack/socket-mode is not installed in {PEERS.name}/node_modules")
        return [node, str(HERE / "slack_socket_mode.cjs")]
    modules = "slack_sdk, aiohttp" if flavour == "aiohttp" else "slack_sdk"
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", f"import {modules}"], check=False).returncode:
        pytest.skip(f"{modules} cannot be imported in {PEERS.name}; tools/connector_peers.sh installs it")
    return [str(PYTHON), str(HERE / "slack_sdk_client.py"), flavour]


class Client:
    """A client in a process of its own, and what it has told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def texts(self) -> list[str]:
        return [one["payload"]["event"]["text"] for one in self.told if one.get("type") == "events_api"]

    async def hears(self, condition: Callable[[], bool]) -> None:
        await until(condition, seconds=SECONDS)


@asynccontextmanager
async def running(flavour: str, slack: FakeSlack, *, token: str = APP_TOKEN) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        *command(flavour),
        slack.api_url,
        token,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "NODE_PATH": str(PEERS / "node_modules"), "HTTP_PROXY": "", "HTTPS_PROXY": ""},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    client = Client()

    async def listen(lines: asyncio.StreamReader) -> None:
        async for line in lines:
            client.told.append(json.loads(line))

    listening = asyncio.create_task(listen(process.stdout))
    try:
        yield client
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()
        await listening


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack(scale=0.3) as fake:
        yield fake


FLAVOURS = pytest.mark.parametrize("flavour", ["builtin", "aiohttp", "node"])


@FLAVOURS
async def test_an_official_client_connects_and_acknowledges_all_kinds_of_deliveries(
    slack: FakeSlack, flavour: str
) -> None:
    async with running(flavour, slack) as client:
        await client.hears(lambda: any("hello" in one for one in client.told))
        slack.message("hello", event_id="Ev1")
        slack.command("/deploy", "now", trigger_id="2.2")
        slack.click("yes", trigger_id="1.1")
        await client.hears(lambda: len(slack.acknowledged) == 3)

    assert sorted(slack.acknowledged) == ["1.1", "2.2", "Ev1"]
    told = {one["type"]: one["payload"] for one in client.told if "type" in one}
    assert sorted(told) == ["events_api", "interactive", "slash_commands"]
    assert told["events_api"]["event"]["text"] == "hello"
    assert told["slash_commands"]["command"] == "/deploy"
    assert told["interactive"]["actions"][0]["action_id"] == "yes"


@FLAVOURS
async def test_an_official_client_sees_a_delivery_again_that_it_did_not_acknowledge(
    slack: FakeSlack, flavour: str
) -> None:
    async with running(flavour, slack) as client:
        slack.message("ignore", event_id="Ev1")
        await client.hears(lambda: slack.acknowledged == ["Ev1"])

    first, again = [one for one in client.told if "type" in one]
    assert first["payload"] == again["payload"]
    assert first["envelope_id"] != again["envelope_id"]
    assert [(one["attempt"], one["reason"]) for one in (first, again)] == [(0, ""), (1, "timeout")]


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
@FLAVOURS
async def test_an_official_client_follows_to_a_new_socket(slack: FakeSlack, flavour: str, reason: str) -> None:
    async with running(flavour, slack) as client:
        slack.message("before", event_id="Ev1")
        await client.hears(lambda: "before" in client.texts())
        slack.disconnect(slack.links[0], reason)
        await client.hears(lambda: slack.sockets_opened == 2 and len(slack.links) == 1)
        slack.message("after", event_id="Ev2")
        await client.hears(lambda: "after" in client.texts() and "Ev2" in slack.acknowledged)

    assert slack.asked["apps.connections.open"] == 2


@FLAVOURS
async def test_an_official_client_finds_its_pings_answered(slack: FakeSlack, flavour: str) -> None:
    async with running(flavour, slack) as client:
        await client.hears(lambda: bool(slack.links) and slack.links[0].pings >= 3)

    assert slack.sockets_opened == 1


@FLAVOURS
async def test_an_official_client_understands_that_its_token_is_refused(slack: FakeSlack, flavour: str) -> None:
    async with running(flavour, slack, token="xapp-wrong") as client:
        await client.hears(lambda: any("refused" in one for one in client.told))

    assert [one["refused"] for one in client.told] == ["invalid_auth"]
    assert slack.sockets_opened == 0


SENDING: Final = """
import json, sys
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.webhook import WebhookClient
api, token, hook = sys.argv[1:]
client = WebClient(token=token, base_url=api)
try:
    client.chat_postMessage(channel="C1", text="one too many")
except SlackApiError as error:
    limited = [error.response.status_code, error.response["error"], error.response.headers["Retry-After"]]
posted = client.chat_postMessage(channel="C1", text="hello")
client.chat_update(channel="C1", ts=posted["ts"], text="changed")
view = client.views_open(trigger_id="1.2", view={"type": "modal"})
try:
    client.views_open(trigger_id="1.2", view={"type": "modal"})
except SlackApiError as error:
    twice = error.response["error"]
answered = WebhookClient(hook).send(text="done")
print(json.dumps([limited, posted["ts"], view["view"]["id"], twice, answered.status_code]))
"""


async def test_the_official_web_client_understands_what_our_slack_answers(slack: FakeSlack) -> None:
    command("builtin")
    slack.triggers.add("1.2")
    slack.limit("chat.postMessage", retry_after_seconds=7)
    process = await asyncio.create_subprocess_exec(
        *(str(PYTHON), "-c", SENDING, slack.api_url, BOT_TOKEN, f"{slack.base_url}/hooks/1.2"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    assert json.loads(output) == [[429, "ratelimited", "7"], "1780000000.000001", "V1", "exchanged_trigger_id", 200]
    assert [one["text"] for one in slack.messages] == ["changed"]
    assert slack.answers == [("1.2", {"text": "done"})]


def test_this_suite_does_not_import_what_it_tests_against() -> None:
    assert "slack_sdk" not in sys.modules
