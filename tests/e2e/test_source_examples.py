"""The examples with sources, all of them in one `headgate dev`, against servers that behave as those outside do."""

import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from tests.e2e.aside import Aside
from tests.e2e.devrun import HEADGATE, ROOT, SECONDS, DevRun
from tests.e2e.waiting import until
from tests.fakes.discord import BOT_ID, CHANNEL, FakeDiscord
from tests.fakes.discord import TOKEN as DISCORD_TOKEN
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from tests.peers.programs import PEERS, free_port, needs, running

EXAMPLES: Final = ROOT / "examples"
RECONNECT: Final = {"base_seconds": 0.2, "max_seconds": 1}
BUCKET: Final = "shop-uploads"
GITHUB_SECRET: Final = "choose-one"
AWS: Final = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


class Prices:
    """A feed of prices as the exchange has it: it answers a subscription, and tells nothing without one."""

    def __init__(self) -> None:
        self.port = 0
        self.subscriptions: list[Any] = []
        self.listening: ServerConnection | None = None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Prices"]:
        async with serve(self._serve, "127.0.0.1", 0) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    async def tell(self, product: str, prices: list[float]) -> None:
        assert self.listening is not None
        for price in prices:
            message = {"type": "ticker", "product_id": product, "price": f"{price}", "side": "buy"}
            await self.listening.send(json.dumps(message))

    async def hang_up(self) -> None:
        assert self.listening is not None
        await self.listening.close(1001)

    async def _serve(self, connection: ServerConnection) -> None:
        asked = json.loads(await connection.recv())
        channels = [{"name": name, "product_ids": asked["product_ids"]} for name in asked["channels"]]
        await connection.send(json.dumps({"type": "subscriptions", "channels": channels}))
        self.listening = connection
        self.subscriptions.append(asked)
        await connection.wait_closed()
        if self.listening is connection:
            self.listening = None


class News:
    """Two feeds: `/a` and `/b`, with the titles of their items."""

    def __init__(self) -> None:
        self.port = 0
        self.titles: dict[str, list[str]] = {"a": ["old"], "b": ["old"]}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["News"]:
        app = web.Application()
        app.router.add_get("/{feed}", self._feed)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _feed(self, request: web.Request) -> web.Response:
        feed = request.match_info["feed"]
        items = "".join(
            f"<item><title>{title}</title><link>https://{feed}.example/{title}</link></item>"
            for title in reversed(self.titles[feed])
        )
        text = f"<?xml version='1.0'?><rss version='2.0'><channel><title>Feed {feed}</title>{items}</channel></rss>"
        return web.Response(text=text, content_type="application/rss+xml")


class Outside:
    """Everything that the examples talk to, and the `headgate dev` in which they run."""

    def __init__(self, aside: Aside, moto: str | None) -> None:
        self.aside, self.moto = aside, moto
        self.discord = aside.enter(FakeDiscord())
        self.slack = aside.enter(FakeSlack())
        self.slack.redelivers = False
        self.prices = aside.enter(Prices().serving())
        self.news = aside.enter(News().serving())
        self.dev: DevRun

    def declare(self, folder: Path) -> list[str]:
        """Write each file of sources with the addresses of here; everything else is as the example has it."""
        feeds = [f"http://127.0.0.1:{self.news.port}/{name}" for name in ("a", "b")]
        changes: dict[str, list[dict[str, Any]]] = {
            "discord_bot": [{"api_url": self.discord.api_url}],
            "slack_approval": [{"api_url": self.slack.api_url}],
            "price_feed": [{"url": f"ws://127.0.0.1:{self.prices.port}"}],
            "rss_digest": [{"url": url, "interval": "500ms"} for url in feeds],
            "github_webhook": [{}],
            "s3_pipeline": [{"interval": "500ms"}],
        }
        if self.moto is None:
            del changes["s3_pipeline"]
        return [str(_written(folder, name, options)) for name, options in changes.items()]

    @property
    def environment(self) -> dict[str, str]:
        """What the examples say is to be exported."""
        return {
            "DISCORD_TOKEN": DISCORD_TOKEN,
            "SLACK_APP_TOKEN": APP_TOKEN,
            "SLACK_BOT_TOKEN": BOT_TOKEN,
            "DIGEST_SECONDS": "3",
            "GITHUB_WEBHOOK_SECRET": GITHUB_SECRET,
            "UPLOADS_BUCKET": BUCKET,
            "AWS_ENDPOINT_URL": self.moto or "",
            **AWS,
        }

    def results(self, workflow_id: str) -> list[Any]:
        """The results of what has completed, the oldest first."""
        runs = [one for one in self.dev.runs() if one["workflow_id"] == workflow_id and one["status"] == "completed"]
        told = [self.dev.ask("GET", f"/api/v1/runs/{one['run_id']}", None)[1]["run"] for one in runs]
        # That a run is over may be known a moment before its result.
        return [one["result"] for one in told if "result" in one][::-1]

    def told(self, workflow_id: str) -> list[Any]:
        """The results of what has completed, as Kafka has them: a run that was made twice is there twice."""
        asked = [str(HEADGATE), "tail", "results", "--from-start", "--no-follow", "--json", "--kafka", self.dev.kafka]
        lines = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.splitlines()
        told = [json.loads(one)["value"] for one in lines]
        return [one["result"] for one in told if one["workflow_id"] == workflow_id]

    def becomes(self, found: Callable[[], Any], what: str) -> Any:
        """Return what `found` finds, once it does."""
        return until(found, SECONDS, what, else_show=self.dev.log)

    def states(self) -> dict[str, str]:
        status, body = self.dev.ask("GET", "/api/v1/sources", None)
        assert status == 200, body
        return {one["id"]: one["state"] for one in body["sources"]}


def _written(folder: Path, name: str, options: list[dict[str, Any]]) -> Path:
    document = yaml.safe_load((EXAMPLES / name / "sources.yaml").read_text(encoding="utf-8"))
    for source, changed in zip(document["sources"], options, strict=True):
        source["options"] |= changed
        source["reconnect"] = RECONNECT
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    folder = tmp_path_factory.mktemp("examples")
    address = f"http://127.0.0.1:{free_port()}"
    is_there = (PEERS / "bin" / "moto_server").exists()
    arguments = ["-H", "127.0.0.1", "-p", address.rpartition(":")[2]]
    moto = running("moto_server", arguments, log=folder / "moto.log", at=f"{address}/moto-api/")
    with Aside() as aside, moto if is_there else nullcontext():
        outside = Outside(aside, address if is_there else None)
        if is_there:
            aside.run(_new_bucket(address))
        files = outside.declare(folder)
        workflows = [str(EXAMPLES / Path(file).stem) for file in files]
        with DevRun(folder, *workflows, *files, env=outside.environment) as dev:
            outside.dev = dev
            dev.ready()
            outside.becomes(lambda: set(outside.states().values()) == {"connected"}, "all sources are connected")
            yield outside


def _s3(at: str) -> Any:
    from aiobotocore.session import get_session

    return get_session().create_client(
        "s3",
        region_name=AWS["AWS_DEFAULT_REGION"],
        endpoint_url=at,
        aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
    )


async def _new_bucket(at: str) -> None:
    async with _s3(at) as client:
        place = {"LocationConstraint": AWS["AWS_DEFAULT_REGION"]}
        await client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)


# ---- discord_bot -----------------------------------------------------------------------------------------------------


def answers(discord: FakeDiscord) -> list[dict[str, Any]]:
    return [one for one in discord.channels[CHANNEL] if one["author"]["id"] == BOT_ID]


def test_the_bot_answers_commands_and_reminds_over_the_death_of_its_source(outside: Outside) -> None:
    discord = outside.discord
    outside.aside.run(discord.say("how are you?"))
    asked = outside.aside.run(discord.say("!roll 2d6"))
    (first,) = outside.becomes(lambda: answers(discord), "the bot has answered")
    assert re.fullmatch(r"[1-6] \+ [1-6] = \d+", first["content"])
    assert first["message_reference"]["message_id"] == asked

    wanted = outside.aside.run(discord.say("!remind 3s tea is ready"))
    outside.becomes(lambda: discord.reactions == [(CHANNEL, wanted, "⏰")], "it has understood")
    outside.dev.child("app.cli.role connectors").kill()
    outside.becomes(lambda: len(answers(discord)) == 2, "the reminder has come")
    assert answers(discord)[1]["content"] == "<@900> tea is ready"

    outside.aside.run(discord.say("!help"))
    outside.becomes(lambda: len(outside.results("discord_bot")) == 3, "it goes on")
    assert len(answers(discord)) == 3
    assert discord.problems == []


# ---- slack_approval --------------------------------------------------------------------------------------------------


def click(outside: Outside, action_id: str, user: str, trigger_id: str) -> None:
    """As Slack tells it: with what is in the button."""
    slack = outside.slack
    (buttons,) = [one for one in slack.messages[0]["blocks"] if one["type"] == "actions"]
    button = next(one for one in buttons["elements"] if one["action_id"] == action_id)
    payload = {
        "type": "block_actions",
        "user": {"id": user},
        "channel": {"id": "C1"},
        "message": {"ts": slack.messages[0]["ts"]},
        "actions": [{"type": "button", "action_id": action_id, "value": button["value"], "action_ts": "1780000000.1"}],
        "response_url": f"{slack.base_url}/hooks/{trigger_id}",
        "trigger_id": trigger_id,
    }
    outside.aside.call(lambda: slack.deliver("interactive", payload))


def test_a_deployment_waits_for_somebody_else_to_approve_it(outside: Outside) -> None:
    slack = outside.slack
    outside.aside.call(lambda: slack.command("/deploy", "shop 1.4", trigger_id="asked"))
    outside.becomes(lambda: slack.messages, "the channel is asked")
    assert slack.messages[0]["text"] == "<@U1> wants to deploy *shop 1.4*."

    click(outside, "approve", "U1", "own")
    outside.becomes(lambda: slack.answers, "whoever asked is told")
    assert slack.answers[0][0] == "own"
    assert slack.answers[0][1]["text"] == "Somebody else has to decide."

    click(outside, "approve", "U2", "others")
    outside.becomes(lambda: len(slack.messages) == 2, "the outcome is told")
    question, outcome = slack.messages
    assert question["text"] == "*shop 1.4*, asked by <@U1>: approved by <@U2>."
    assert (outcome["thread_ts"], outcome["text"]) == (question["ts"], "shop 1.4 is live")
    assert {"asked", "own", "others"} == set(slack.acknowledged)


# ---- price_feed ------------------------------------------------------------------------------------------------------


def test_prices_become_candles_and_a_jump_an_alert_over_a_lost_connection(outside: Outside) -> None:
    prices = outside.prices
    outside.becomes(lambda: prices.listening, "it has subscribed")
    assert prices.subscriptions[0]["product_ids"] == ["BTC-USD", "ETH-USD"]
    outside.aside.run(prices.tell("BTC-USD", [100_000.0 + number for number in range(500)]))
    outside.becomes(lambda: outside.results("candle"), "a full candle is there")

    before = prices.listening
    outside.aside.run(prices.hang_up())
    outside.becomes(lambda: prices.listening not in (None, before), "it has subscribed again")
    outside.aside.run(prices.tell("BTC-USD", [100.0, *[101.5] * 499]))

    outside.becomes(lambda: outside.results("price_alert"), "the jump is told")
    assert outside.results("price_alert") == ["BTC-USD moved between 100 and 101.5"]
    one, other = outside.results("candle")
    assert one == {
        "product": "BTC-USD",
        "open": 100_000.0,
        "high": 100_499.0,
        "low": 100_000.0,
        "close": 100_499.0,
        "prices": 500,
    }
    assert (other["open"], other["close"], other["prices"]) == (100.0, 101.5, 500)


# ---- rss_digest ------------------------------------------------------------------------------------------------------


def test_new_items_of_two_feeds_become_one_digest(outside: Outside) -> None:
    news = outside.news
    outside.aside.call(lambda: news.titles["a"].extend(["one", "two"]))
    outside.aside.call(lambda: news.titles["b"].append("three"))
    outside.becomes(lambda: sum(one["items"] for one in outside.results("rss_digest")) >= 3, "they are told")

    def told() -> list[str]:  # in one digest, or on a slow machine in several
        texts = "\n".join(outside.results("send_digest"))
        assert "old" not in texts
        return sorted(line for line in texts.splitlines() if line.startswith("- "))

    items = (("a", "one"), ("a", "two"), ("b", "three"))
    lines = sorted(f"- [{title}](https://{feed}.example/{title})" for feed, title in items)
    outside.becomes(lambda: len(told()) >= len(lines), "all of them are sent")
    assert told() == lines


# ---- github_webhook --------------------------------------------------------------------------------------------------


def test_the_delivery_of_its_readme_builds_once_and_a_forged_one_nothing(outside: Outside) -> None:
    readme = (EXAMPLES / "github_webhook" / "README.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)

    def deliver(script: str) -> list[dict[str, Any]]:
        script = script.replace("127.0.0.1:8080", f"127.0.0.1:{outside.dev.port}")
        done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True, timeout=SECONDS)
        decoder, text, found = json.JSONDecoder(), done.stdout, []
        while text.strip():
            one, end = decoder.raw_decode(text.lstrip())
            found.append(one)
            text = text.lstrip()[end:]
        return found

    first, again = deliver(script)
    assert first == again
    outside.becomes(lambda: outside.results("github_build"), "the push is built")

    forged = deliver(
        script.replace("72d3162e", "forged").replace("ada/shop", "ada/bank").replace(GITHUB_SECRET, "guess")
    )
    assert {"signature_wrong"} == {one["error"]["code"] for one in forged}
    issue = (
        script.replace("push", "issues")
        .replace("72d3162e", "issue")
        .replace(
            '"ref": "refs/heads/main", "after": "4f2a9c1d"',
            '"action": "opened", "issue": {"number": 7, "title": "Crash on start"}',
        )
    )
    deliver(issue)
    outside.becomes(lambda: outside.results("github_triage"), "the issue has labels")
    assert outside.results("github_triage") == [{"issue": 7, "labels": ["bug"]}]

    # Builds of a repository go in order: once a later push is built, whatever was to be built before it is.
    later = script.replace("72d3162e", "later").replace("4f2a9c1d", "5a6b7c8d")
    deliver(later)
    deliver(later.replace("later", "other").replace("ada/shop", "ada/bank"))
    shop, bank = ({"commit": "5a6b7c8d", "image": f"{repository}@5a6b7c8"} for repository in ("ada/shop", "ada/bank"))
    results = outside.results
    outside.becomes(lambda: all(one in results("github_build") for one in (shop, bank)), "the later pushes are built")
    once = {"commit": "4f2a9c1d", "image": "ada/shop@4f2a9c1"}
    assert sorted(outside.told("github_build"), key=lambda one: str(one["image"])) == [bank, once, shop]


# ---- s3_pipeline -----------------------------------------------------------------------------------------------------


@needs("moto_server")
def test_an_upload_becomes_a_report_in_the_bucket(outside: Outside) -> None:
    assert outside.moto is not None
    at = outside.moto

    async def put(key: str, content: bytes) -> None:
        async with _s3(at) as client:
            await client.put_object(Bucket=BUCKET, Key=key, Body=content)

    async def reports() -> dict[str, Any]:
        async with _s3(at) as client:
            found = await client.list_objects_v2(Bucket=BUCKET, Prefix="reports/")
            return {
                one["Key"]: json.loads(await (await client.get_object(Bucket=BUCKET, Key=one["Key"]))["Body"].read())
                for one in found.get("Contents", ())
            }

    outside.aside.run(put("incoming/may.csv", b"product,amount\ntea,2.50\ncoffee,3\ntea,0.75\n"))
    outside.aside.run(put("incoming/notes.txt", b"not for us"))
    outside.aside.run(put("incoming/broken.csv", b"product\ntea\n"))
    outside.becomes(lambda: len(outside.results("sales_report")) == 2, "both files are dealt with")
    assert {"incoming/broken.csv": "it has no column amount"} == {
        one["key"]: one["why"] for one in outside.results("sales_report") if "why" in one
    }
    (report,) = outside.aside.run(reports()).values()
    assert report["totals"] == {"coffee": "3", "tea": "3.25"}

    outside.aside.run(put("incoming/may.csv", b"product,amount\ntea,1\n"))
    outside.becomes(lambda: len(outside.results("sales_report")) == 3, "the new version is dealt with")
    (report,) = outside.aside.run(reports()).values()
    assert report["totals"] == {"tea": "1"}
