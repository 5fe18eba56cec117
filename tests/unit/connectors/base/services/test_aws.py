"""Clients of AWS: they connect where the egress policy lets them, with credentials that were meant for them."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from connectors.base.contract import NotConnected, Refused
from connectors.base.reach.egress import Policy
from connectors.base.services.aws import Aws, AwsOptions, region_of, told
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import StandIn

KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "canary-secret", "session_token": "canary-token"}
VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name in (*VARIABLES, "AWS_DEFAULT_REGION", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


class Standing(StandIn):
    """A site with an egress policy, and names that the test knows."""

    def __init__(self, *allowed: str, **names: str) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []

        async def lookup(host: str, port: int) -> Sequence[str]:
            return [names[host.replace(".", "_")]]

        self._policy = Policy(allowed=allowed, lookup=lookup)

    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        self.asked.append((host, port))
        return await self._policy.resolve(host, port)


class Server:
    """Answers as SQS; remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[web.Request] = []
        self.status, self.body = 200, "{}"
        self.headers: dict[str, str] = {}
        self.at = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        return web.Response(status=self.status, text=self.body, headers=self.headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    one = Server()
    async with serving(one.answer) as at:
        one.at = at
        yield one


async def ask(site: StandIn, endpoint: str, **options: Any) -> Any:
    """Ask SQS for a queue's attributes."""
    given = AwsOptions.model_validate({"region": "eu-west-1", "endpoint_url": endpoint, **KEYS, **options})
    async with Aws(given, site).client("sqs") as client:
        with told("asking"):
            return await client.get_queue_attributes(QueueUrl=f"{endpoint}/1/q")


async def test_a_request_goes_to_an_address_that_the_site_has_approved(server: Server) -> None:
    port = server.at.rpartition(":")[2]
    site = Standing("sqs.example.test", sqs_example_test="127.0.0.1")
    await ask(site, f"http://sqs.example.test:{port}")

    assert [request.headers["Host"] for request in server.requests] == [f"sqs.example.test:{port}"]
    assert ("sqs.example.test", int(port)) in site.asked
    assert site.heard_bytes > 0


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "internal.example.test", "localhost"]
)
async def test_nothing_connects_where_the_policy_says_no(server: Server, host: str) -> None:
    port = server.at.rpartition(":")[2]
    site = Standing("10.0.0.0/8", internal_example_test="127.0.0.1", localhost="127.0.0.1")
    with pytest.raises(Refused):
        await ask(site, f"http://{host}:{port}")

    assert server.requests == []


async def test_a_redirect_is_not_followed_even_to_where_it_came_from(server: Server) -> None:
    server.status, server.headers = 307, {"Location": f"http://{server.at}/elsewhere"}
    with pytest.raises(Refused, match="asking: AWS answered"):
        await ask(Standing("127.0.0.0/8"), f"http://{server.at}")

    assert [request.path for request in server.requests] == ["/"]


async def test_a_socket_is_made_for_approved_addresses_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lets an address past the resolver, the socket does not: here the check of the URL is missing."""
    monkeypatch.setattr("connectors.base.services.aws.literal_address", lambda _host: None)
    with pytest.raises(Refused, match="nobody has approved"):
        await ask(Standing("127.0.0.0/8"), f"http://{server.at}")

    assert server.requests == []


async def test_no_proxy_is_taken_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving((proxy := Server()).answer) as at:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{at}")
        await ask(Standing("127.0.0.0/8"), f"http://{server.at}")

    assert proxy.requests == []
    assert len(server.requests) == 1


async def test_the_keys_of_the_options_sign() -> None:
    async with serving((server := Server()).answer) as at:
        await ask(Standing("127.0.0.0/8"), f"http://{at}")

    headers = server.requests[0].headers
    assert "Credential=AKIDEXAMPLE/" in headers["Authorization"]
    assert "/eu-west-1/sqs/" in headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "canary-token"


NO_KEYS = {"access_key_id": None, "secret_access_key": None, "session_token": None}


async def test_credentials_of_the_environment_are_taken_anew_for_each_client(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AKIDONE", "AKIDTWO"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        await ask(Standing("127.0.0.0/8"), f"http://{server.at}", **NO_KEYS)

    signed = [request.headers["Authorization"].partition("Credential=")[2][:7] for request in server.requests]
    assert signed == ["AKIDONE", "AKIDTWO"]


async def test_credentials_that_sources_may_not_use_are_not_looked_for(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Else whoever sets up a source could send requests that are signed with the process's role wherever he wants."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDPROCESS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    marker = tmp_path / "marker"
    (tmp_path / "config").write_text(f"[default]\ncredential_process = touch {marker}\n")
    site = Standing("127.0.0.0/8", "169.254.169.254")
    site.forbidden.add("AWS_ACCESS_KEY_ID")
    with pytest.raises(
        Refused, match=r"give access_key_id .*, or name AWS_ACCESS_KEY_ID in .*connectors\.secret_names"
    ):
        await ask(site, f"http://{server.at}", **NO_KEYS)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{server.at}/no-metadata-here")
    with pytest.raises(Refused, match="there are no credentials"):
        await ask(site, f"http://{server.at}", **NO_KEYS, instance_role=True)
    assert [one.path for one in server.requests if not one.path.startswith("/no-metadata-here")] == []
    assert not marker.exists()

    await ask(site, f"http://{server.at}")
    assert "Credential=AKIDEXAMPLE/" in server.requests[-1].headers["Authorization"]


async def test_without_credentials_the_source_is_refused_and_the_metadata_service_not_asked(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{server.at}")
    with pytest.raises(Refused, match="there are no credentials; give access_key_id"):
        await ask(Standing("127.0.0.0/8"), f"http://{server.at}", **NO_KEYS)

    assert server.requests == []


async def test_the_metadata_service_is_asked_where_options_and_policy_allow_it(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    asked = []

    async def metadata(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path.endswith("/token"):
            return web.Response(text="token")
        if request.path.endswith("/security-credentials/"):
            return web.Response(text="role")
        body = {"AccessKeyId": "AKIDROLE", "SecretAccessKey": "x", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}
        return web.json_response({"Code": "Success", **body})

    async with serving(metadata) as at:
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{at}")
        with pytest.raises(Refused, match=r"169\.254\.169\.254.*connectors\.allow"):
            await ask(Standing("127.0.0.0/8"), f"http://{server.at}", **NO_KEYS, instance_role=True)
        assert asked == []

        site = Standing("127.0.0.0/8", "169.254.169.254")
        await ask(site, f"http://{server.at}", **NO_KEYS, instance_role=True)

    assert "Credential=AKIDROLE/" in server.requests[0].headers["Authorization"]


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (403, "InvalidClientTokenId", Refused, "check the access key"),
        (400, "ExpiredToken", Refused, "check the access key"),
        (403, "SignatureDoesNotMatch", Refused, "check the access key"),
        (403, "AccessDenied", Refused, "allow the action in the policies"),
        (400, "AWS.SimpleQueueService.NonExistentQueue", Refused, "check the name and the region"),
        (403, "RequestTimeTooSkewed", Refused, "set the clock"),
        (400, "InvalidParameterValue", Refused, "check the options"),
        (400, "Throttling", NotConnected, "answered Throttling"),
        (403, "OverLimit", NotConnected, "answered OverLimit"),
        (500, "InternalFailure", NotConnected, "answered InternalFailure"),
        (503, "<html>", NotConnected, "an error without a code"),
    ],
)
async def test_an_error_is_told_apart_and_says_what_to_do(
    server: Server, status: int, code: str, kind: type[Exception], words: str
) -> None:
    server.status = status
    server.body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "canary-secret canary-token"})
    with pytest.raises(kind, match=words) as raised:
        await ask(Standing("127.0.0.0/8"), f"http://{server.at}")

    assert "canary" not in str(raised.value)
    assert len(server.requests) == 1


async def test_a_server_that_is_away_is_tried_again() -> None:
    async with serving(Server().answer) as at:
        pass
    with pytest.raises(NotConnected, match="the connection failed"):
        await ask(Standing("127.0.0.0/8"), f"http://{at}")


async def test_an_answer_that_is_none_is_tried_again(server: Server) -> None:
    server.body = "no XML"
    options = AwsOptions.model_validate({"endpoint_url": f"http://{server.at}", **KEYS})
    async with Aws(options, Standing("127.0.0.0/8")).client("sns") as client:
        with pytest.raises(NotConnected, match="the answer is none of AWS"), told("asking"):
            await client.list_topics()


@pytest.mark.parametrize("stamp", ["12:" + "9" * 40, "9" * 400, "2026-02-30T00:00:00Z", "soon"])
async def test_an_answer_with_a_time_that_is_none_is_tried_again(server: Server, stamp: str) -> None:
    server.body = (
        "<ListBucketResult><Contents><Key>a</Key><Size>1</Size><ETag>e</ETag>"
        f"<LastModified>{stamp}</LastModified></Contents></ListBucketResult>"
    )
    options = AwsOptions.model_validate({"endpoint_url": f"http://{server.at}", "region": "eu-west-1", **KEYS})
    async with Aws(options, Standing("127.0.0.0/8")).client("s3") as client:
        with pytest.raises(NotConnected, match="the answer is none of AWS"), told("asking"):
            await client.list_objects_v2(Bucket="uploads")


async def test_a_region_is_needed_where_nothing_tells_it() -> None:
    options = AwsOptions.model_validate(KEYS)
    with pytest.raises(Refused, match="give the option region"):
        async with Aws(options, StandIn()).client("sqs"):
            raise AssertionError


@pytest.mark.parametrize(
    ("name", "region"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/1/q", "eu-west-1"),
        ("https://sqs.us-gov-west-1.amazonaws.com/1/q", "us-gov-west-1"),
        ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
        ("arn:aws:sns:ap-southeast-2:1:t", "ap-southeast-2"),
        ("arn:aws:s3:::bucket", None),
        ("http://127.0.0.1:5000/1/q", None),
        ("https://sqs.eu-west-1.amazonaws.com.evil.test/1/q", None),
        ("arn:x", None),
    ],
)
def test_the_region_is_in_the_name_of_a_queue_or_topic(name: str, region: str | None) -> None:
    assert region_of(name) == region


@pytest.mark.parametrize(
    "given",
    [{"access_key_id": "a"}, {"secret_access_key": "b"}, {"session_token": "t"}, {"region": "eu west"}],
)
def test_half_credentials_and_odd_regions_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        AwsOptions.model_validate(given)


def test_secrets_are_not_shown() -> None:
    assert "canary" not in repr(AwsOptions.model_validate(KEYS)) + str(AwsOptions.model_validate(KEYS).shown())
