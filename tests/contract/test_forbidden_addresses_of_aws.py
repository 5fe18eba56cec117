"""No endpoint leads clients of AWS, which connect by themselves, where nothing may connect; watched at the socket."""

from collections import Counter
from typing import Any

from connectors.base.contract import NotConnected, Refused
from connectors.base.reach.egress import Policy
from connectors.base.services.aws import _guarded
from tests.contract.test_forbidden_addresses import PUBLIC, lookup, redirecting, watching
from tests.corpus.ssrf import urls
from tests.unit.connectors.standing import StandIn


class Standing(StandIn):
    """A site whose policy looks names up in the corpus."""

    def __init__(self, *allowed: str) -> None:
        super().__init__()
        self.resolve = Policy(allowed=allowed, lookup=lookup).resolve  # type: ignore[method-assign]


def session(*allowed: str) -> Any:
    """Return what a client of AWS sends its requests with."""
    guarded = _guarded(Standing(*allowed))
    return guarded["http_session_cls"](verify=False, timeout=5, connector_args=guarded["connector_args"])


async def ask(http: Any, url: str) -> str:
    """Return what became of a request."""
    from botocore.awsrequest import AWSRequest
    from botocore.exceptions import BotoCoreError

    try:
        request = AWSRequest("GET", url).prepare()
    except ValueError:
        return "no URL"
    try:
        await http.send(request)
    except Refused:
        return "refused"
    except (NotConnected, BotoCoreError):
        return "not connected"
    return "answered"


async def test_no_endpoint_of_the_corpus_connects_to_what_is_forbidden() -> None:
    async with session() as http:
        with watching() as watch:
            ends = Counter([await ask(http, url) for url in urls.ALL])

    assert set() == {address for address, _ in watch.connects} - PUBLIC
    assert [] == watch.lookups
    assert ends["answered"] == 0
    assert ends["refused"] > 0.9 * len(urls.ALL)


async def test_no_redirect_of_an_endpoint_leads_to_what_is_forbidden() -> None:
    ends = set()
    async with redirecting() as server, session(server.place) as http:
        with watching(server.address) as watch:
            for url in urls.ALL:
                if not {"\r", "\n", "\0"} & set(url):  # they cannot be in a header
                    server.code, server.location = 307, url
                    ends.add(await ask(http, f"http://{server.place}/redirect"))

    assert {server.address} == set(watch.connects)
    assert {"answered", "not connected"} == ends  # some are no text as headers go
    assert [] == watch.lookups
