"""Asking Slack's Web API: what is sent, what its refusals mean, and how its limits are kept."""

import json
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.base.contract import NotConnected, Refused
from connectors.slack.web import METHODS, Web
from tests.fakes.slack import APP_TOKEN, BOT_TOKEN, FakeSlack
from tests.unit.connectors.standing import StandIn

APP = SecretStr(APP_TOKEN)
BOT = SecretStr(BOT_TOKEN)
HELLO = {"channel": "C1", "text": "hello"}


@pytest.fixture
def web(slack: FakeSlack, site: StandIn) -> Web:
    return Web(site, slack.api_url)


async def refused(asking: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await asking
    return caught.value


async def put_off(asking: Any) -> NotConnected:
    with pytest.raises(NotConnected) as caught:
        await asking
    return caught.value


async def test_the_address_of_a_socket_is_asked_for_with_the_token_in_the_header_alone(
    slack: FakeSlack, web: Web
) -> None:
    url = await web.socket_url(APP)

    [(method, headers, body)] = slack.requests
    assert url.startswith("ws://127.0.0.1:")
    assert (method, headers["Authorization"], body) == ("apps.connections.open", f"Bearer {APP_TOKEN}", "")


async def test_the_slash_at_the_end_of_the_api_may_be_missing(slack: FakeSlack, site: StandIn) -> None:
    assert await Web(site, slack.api_url.removesuffix("/")).socket_url(APP)


@pytest.mark.parametrize(
    "code", ["invalid_auth", "not_authed", "token_revoked", "account_inactive", "not_allowed_token_type", "new_error"]
)
async def test_what_slack_will_not_have_is_refused_with_its_word_and_a_remedy(
    slack: FakeSlack, web: Web, code: str
) -> None:
    slack.answer_next("apps.connections.open", body={"ok": False, "error": code})

    error = await refused(web.socket_url(APP))

    assert error.reason == code
    assert str(error).startswith(f"Slack refused apps.connections.open of source 'src': {code}; ")
    assert APP_TOKEN not in str(error)


async def test_a_missing_scope_is_named(slack: FakeSlack, web: Web) -> None:
    slack.answer_next(
        "apps.connections.open", body={"ok": False, "error": "missing_scope", "needed": "connections:write"}
    )

    assert str(await refused(web.socket_url(APP))).endswith("install it again (needed: connections:write)")


async def test_the_wrong_kind_of_token_is_told(web: Web) -> None:
    assert "app_token is the app-level token (xapp-...)" in str(await refused(web.socket_url(BOT)))


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schl\u00fcssel"])
async def test_a_token_that_can_be_none_is_not_sent(slack: FakeSlack, web: Web, token: str) -> None:
    error = await refused(web.socket_url(SecretStr(token)))

    assert (error.reason, slack.requests) == ("invalid_auth", [])
    assert not token or token not in str(error)


async def test_a_line_break_after_a_token_is_none_of_it(web: Web) -> None:
    assert await web.socket_url(SecretStr(APP_TOKEN + "\n"))


@pytest.mark.parametrize("code", ["internal_error", "fatal_error", "service_unavailable", "request_timeout"])
async def test_what_may_work_later_is_tried_again(slack: FakeSlack, web: Web, code: str) -> None:
    slack.answer_next("apps.connections.open", body={"ok": False, "error": code})

    assert (await put_off(web.socket_url(APP))).reason == code
    assert await web.socket_url(APP)


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, {}), (503, {"ok": False, "error": "what is this?"}), (200, {}), (200, {"ok": "yes"}), (408, {})],
)
async def test_an_answer_that_is_none_is_tried_again(slack: FakeSlack, web: Web, status: int, body: Any) -> None:
    slack.answer_next("apps.connections.open", status=status, body=body)

    assert (await put_off(web.socket_url(APP))).reason == f"http_{status}"


async def test_a_place_where_no_slack_is_is_refused(slack: FakeSlack, site: StandIn) -> None:
    error = await refused(Web(site, f"{slack.base_url}/elsewhere/").socket_url(APP))

    assert error.reason == "http_404"


@pytest.mark.parametrize("url", [None, 7, "http://127.0.0.1/", "wss://"])
async def test_an_address_of_no_socket_is_none(slack: FakeSlack, web: Web, url: Any) -> None:
    slack.answer_next("apps.connections.open", body={"ok": True, "url": url})

    assert (await put_off(web.socket_url(APP))).reason == "no_address"


async def test_a_limit_is_kept_for_its_method_and_for_no_other(slack: FakeSlack, site: StandIn) -> None:
    still = StandIn(http=site.http)
    web = Web(still, slack.api_url)
    slack.limit("chat.postMessage", retry_after_seconds=7)

    first = await put_off(web.send(HELLO, BOT, key="k1"))
    still.advance(3)
    second = await put_off(web.send(HELLO, BOT, key="k1"))

    assert [(one.reason, one.retry_after_seconds) for one in (first, second)] == [
        ("rate_limited", 7),
        ("rate_limited", 4),
    ]
    assert slack.asked == {"chat.postMessage": 1}
    assert await web.socket_url(APP)
    still.advance(4)
    assert await web.send(HELLO, BOT, key="k1")
    assert len(slack.messages) == 1


@pytest.mark.parametrize("code", ["ratelimited", "rate_limited"])
async def test_a_limit_without_a_time_lasts_half_a_minute(slack: FakeSlack, web: Web, code: str) -> None:
    slack.answer_next("apps.connections.open", body={"ok": False, "error": code})

    assert (await put_off(web.socket_url(APP))).retry_after_seconds == 30


async def test_a_message_is_posted_and_its_time_is_returned(slack: FakeSlack, web: Web) -> None:
    answer = await web.send(HELLO, BOT, key="k1")

    assert answer == {"ok": True, "channel": "C1", "ts": "1780000000.000001", "message": {"text": "hello"}}
    [(_, headers, body)] = slack.requests
    assert headers["Authorization"] == f"Bearer {BOT_TOKEN}"
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert {name: body[name] for name in HELLO} == HELLO


async def test_a_repetition_carries_the_same_id_and_another_message_another_one(slack: FakeSlack, web: Web) -> None:
    first = await web.send(HELLO, BOT, key="k1")
    again = await web.send(HELLO, BOT, key="k1")
    await web.send(HELLO, BOT, key="k2")
    await web.send({**HELLO, "client_msg_id": "mine"}, BOT, key="k3")

    assert first == again
    names = [one["client_msg_id"] for one in slack.messages]
    assert len(set(names)) == len(names) == 3
    assert names[2] == "mine"


async def test_a_message_is_changed(slack: FakeSlack, web: Web) -> None:
    posted = await web.send(HELLO, BOT, key="k1")
    assert posted is not None

    await web.send({"method": "chat.update", "channel": "C1", "ts": posted["ts"], "text": "bye"}, BOT, key="k2")

    assert [one["text"] for one in slack.messages] == ["bye"]
    assert "client_msg_id" not in slack.requests[1][2]


async def test_a_view_is_opened_once_by_its_trigger(slack: FakeSlack, web: Web) -> None:
    slack.triggers.add("1.2")
    message = {"method": "views.open", "trigger_id": "1.2", "view": {"type": "modal"}}

    assert await web.send(message, BOT, key="k1") == {"ok": True, "view": {"id": "V1"}}
    assert (await refused(web.send(message, BOT, key="k1"))).reason == "exchanged_trigger_id"
    assert slack.views == [{"type": "modal"}]


async def test_a_reaction_that_is_there_already_was_a_repetition(slack: FakeSlack, web: Web) -> None:
    slack.answer_next("reactions.add", body={"ok": False, "error": "already_reacted"})

    answer = await web.send(
        {"method": "reactions.add", "channel": "C1", "timestamp": "1.2", "name": "eyes"}, BOT, key="k"
    )

    assert answer == {"ok": False, "error": "already_reacted"}


@pytest.mark.parametrize("method", ["apps.connections.open", "auth.revoke", "../hooks/x", "", 7, None])
async def test_methods_that_are_not_for_sending_are_refused(slack: FakeSlack, web: Web, method: Any) -> None:
    error = await refused(web.send({"method": method}, BOT, key="k1"))

    assert (error.reason, slack.requests) == ("unknown_method", [])
    assert all(name in str(error) for name in METHODS)


async def test_nothing_can_be_sent_without_a_bot_token_but_an_answer(slack: FakeSlack, web: Web) -> None:
    assert (await refused(web.send(HELLO, None, key="k1"))).reason == "no_bot_token"

    await web.send({"response_url": f"{slack.base_url}/hooks/1.2", "text": "done"}, None, key="k1")

    assert slack.answers == [("1.2", {"text": "done"})]


async def test_what_is_no_json_is_not_sent(slack: FakeSlack, web: Web) -> None:
    error = await refused(web.send({**HELLO, "blocks": {1, 2}}, BOT, key="k1"))

    assert (error.reason, slack.requests) == ("not_json", [])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hooks/1.2",
        "http://hooks.slack.com/actions/1",
        "https://hooks.slack.com:8443/actions/1",
        "https://hooks.slack.com.evil.example/actions/1",
        "https://hooks.slack.com@evil.example/actions/1",
        "https://user@hooks.slack.com/actions/1",
        "ftp://hooks.slack.com/x",
        "https://[hooks.slack.com/",
        "https://hooks.slack.com:99999999/",
        "",
        None,
        7,
    ],
)
async def test_answers_go_to_slacks_hooks_alone(site: StandIn, url: Any) -> None:
    unreachable = StandIn()  # a request would need its http
    error = await refused(
        Web(unreachable, "https://slack.com/api/").send({"response_url": url, "text": "x"}, None, key="k")
    )

    assert error.reason == "response_url_not_allowed"
    assert not url or str(url) not in str(error)


@pytest.mark.parametrize(
    ("api_url", "url", "allowed"),
    [
        ("https://slack.com/api/", "https://hooks.slack.com/actions/T1/1/x", True),
        ("https://slack-gov.com/api/", "https://hooks.slack-gov.com/commands/1", True),
        ("https://slack-gov.com/api/", "https://hooks.slack.com/commands/1", True),
        ("https://slack.com/api/", "https://hooks.slack-gov.com/commands/1", False),
        ("http://127.0.0.1:99/api/", "http://127.0.0.1:99/hooks/1", True),
        ("http://127.0.0.1:99/api/", "http://127.0.0.1:98/hooks/1", False),
    ],
)
def test_hooks_are_those_of_slack_and_of_the_place_that_is_configured(api_url: str, url: str, allowed: bool) -> None:
    assert Web(StandIn(), api_url)._is_hook(url) is allowed


@pytest.mark.parametrize(("address", "expected"), [("ws://1.2.3.4/link", False), ("wss://1.2.3.4/link", True)])
async def test_a_socket_is_encrypted_where_the_api_is(
    slack: FakeSlack, site: StandIn, address: str, expected: bool
) -> None:
    class InPlaceOfSlack:
        """Asks the fake what is meant for https://slack.com."""

        def request(self, method: str, url: str, **options: Any) -> Any:
            return site.http.request(method, url.replace("https://slack.com", slack.base_url), **options)

    slack.answer_next("apps.connections.open", body={"ok": True, "url": address})
    asked = Web(StandIn(http=InPlaceOfSlack()), "https://slack.com/api/").socket_url(APP)  # type: ignore[arg-type]

    if expected:
        assert await asked == address
    else:
        assert (await put_off(asked)).reason == "no_address"


async def test_an_answer_that_comes_too_late_is_refused_without_its_address(slack: FakeSlack, web: Web) -> None:
    slack.answer_next("response_url", status=404, body={"ok": False, "error": "expired_url"})

    error = await refused(web.send({"response_url": f"{slack.base_url}/hooks/secret", "text": "x"}, None, key="k"))

    assert error.reason == "expired_url"
    assert "secret" not in str(error)


async def test_an_answer_that_is_one_too_many_waits(slack: FakeSlack, web: Web) -> None:
    slack.limit("response_url", retry_after_seconds=5)

    error = await put_off(web.send({"response_url": f"{slack.base_url}/hooks/1", "text": "x"}, None, key="k"))

    assert error.retry_after_seconds == 5


async def test_a_token_is_nowhere_but_in_the_header(slack: FakeSlack, web: Web, site: StandIn) -> None:
    await web.socket_url(APP)
    await web.send(HELLO, BOT, key="k1")

    for _, headers, body in slack.requests:
        bare = {name: value for name, value in headers.items() if name != "Authorization"}
        assert not any(token in json.dumps([bare, body]) for token in (APP_TOKEN, BOT_TOKEN))
    assert site.said == []
