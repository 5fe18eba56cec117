"""The HTTP API."""

from typing import Any

import pytest

from connectors.base.contract import NotConnected, Refused
from connectors.base.options import SecretStr
from connectors.discord.budget import Allowance
from connectors.discord.limits import Route
from connectors.discord.rest import TRIES, Ask, Gateway, Reply, Rest
from tests.fakes.discord import CHANNEL, TOKEN, FakeDiscord
from tests.unit.connectors.discord.conftest import Hasty

HISTORY = Ask(
    method="GET",
    path=f"/channels/{CHANNEL}/messages",
    route=Route(form="GET /channels/messages", major=CHANNEL),
)


@pytest.fixture
def rest(discord: FakeDiscord, site: Hasty) -> Rest:
    return Rest(site, token=SecretStr(TOKEN), api_url=discord.api_url + "/")


def limited(wait: float, *, everywhere: bool = False) -> tuple[int, dict[str, str], Any]:
    return 429, {"Retry-After": str(int(wait) + 1)}, {"retry_after": wait, "global": everywhere}


async def test_it_asks_as_a_bot(discord: FakeDiscord, rest: Rest) -> None:
    assert await rest.ask(HISTORY) == Reply(status=200, data=[])

    [(method, path, headers)] = discord.requests
    assert (method, path) == ("GET", f"/api/v10/channels/{CHANNEL}/messages")
    assert headers["Authorization"] == f"Bot {TOKEN}"
    assert headers["User-Agent"].startswith("DiscordBot (")


async def test_the_gateway_is_told_with_what_is_left_of_the_budget(discord: FakeDiscord, rest: Rest) -> None:
    discord.remaining, discord.max_concurrency = 7, 16
    assert await rest.gateway() == Gateway(
        url=discord.gateway_url,
        shards=1,
        allowance=Allowance(total=1000, remaining=7, reset_after_seconds=86_400.0, max_concurrency=16),
    )


async def test_a_gateway_without_a_budget_has_the_usual_one(discord: FakeDiscord, rest: Rest) -> None:
    discord.refusals.append((200, {}, {"url": "wss://x", "session_start_limit": {"remaining": "all", "total": -1}}))
    assert (await rest.gateway()).allowance == Allowance()


async def test_a_wrong_token_is_refused_without_being_shown(discord: FakeDiscord, rest: Rest) -> None:
    discord.token = "another"
    with pytest.raises(
        Refused, match=r"^Discord does not know the token of source 'src'; give the bot's token"
    ) as told:
        await rest.gateway()
    assert told.value.reason == "unauthorized"
    assert TOKEN not in str(told.value)


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (404, {"message": "404: Not Found", "code": 0}, Refused, "http_404"),
        (200, ["no gateway"], NotConnected, "protocol"),
        (503, "<html>", NotConnected, "http_503"),
    ],
)
async def test_no_gateway_is_an_error_of_its_kind(
    discord: FakeDiscord, rest: Rest, status: int, body: Any, kind: type[NotConnected | Refused], reason: str
) -> None:
    discord.refusals.append((status, {}, body))
    with pytest.raises(kind) as told:
        await rest.gateway()
    assert getattr(told.value, "reason", None) == reason


async def test_limits_in_the_headers_are_kept_without_meeting_a_refusal(
    discord: FakeDiscord, rest: Rest, site: Hasty
) -> None:
    discord.buckets["GET /channels/messages"] = ("hist", 3, 5.0)
    for _ in range(9):
        assert (await rest.ask(HISTORY)).status == 200

    assert discord.problems == []
    assert len(discord.requests) == 9
    assert len(site.slept) >= 2
    assert site.notes["rate_limited"] == 0


async def test_a_refusal_is_waited_for_and_asked_again(discord: FakeDiscord, rest: Rest, site: Hasty) -> None:
    discord.refusals.extend([limited(1.5), limited(2.5, everywhere=True)])
    assert (await rest.ask(HISTORY)).status == 200
    assert site.slept[:1] == [1.5]
    assert 2.5 in site.slept
    assert site.notes["rate_limited"] == 2


async def test_a_limit_that_outlasts_the_patience_is_handed_on(discord: FakeDiscord, rest: Rest, site: Hasty) -> None:
    discord.refusals.append(limited(600.0))
    for _ in range(2):
        with pytest.raises(NotConnected, match="limits the requests of source 'src' for") as told:
            await rest.ask(HISTORY)
        assert told.value.retry_after_seconds == pytest.approx(600.0, abs=60.0)
    assert len(discord.requests) == 1, "a bucket that is empty is not asked again"


async def test_refusals_without_end_are_handed_on(discord: FakeDiscord, rest: Rest) -> None:
    discord.refusals.extend([limited(0.01)] * TRIES)
    with pytest.raises(NotConnected):
        await rest.ask(HISTORY)
    assert len(discord.requests) == TRIES


async def test_errors_of_a_request_are_for_the_caller(discord: FakeDiscord, rest: Rest) -> None:
    reply = await rest.ask(
        Ask(method="GET", path="/channels/1/messages", route=Route(form="GET /channels/messages", major="1"))
    )
    assert (reply.status, reply.code, reply.problem()) == (403, 50001, "HTTP 403, code 50001 (Missing Access)")
    assert Reply(status=400, data=None).problem() == "HTTP 400"


async def test_what_needs_no_token_is_asked_without(discord: FakeDiscord, rest: Rest) -> None:
    asked = Ask(
        method="POST",
        path="/interactions/1/secret/callback",
        route=Route(form="POST /interactions/callback", major="1", globally=False),
        json={"type": 5},
        authorized=False,
    )
    assert (await rest.ask(asked)).status == 204
    assert "Authorization" not in discord.requests[0][2]
    assert "secret" not in repr(asked)
