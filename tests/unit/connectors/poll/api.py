"""An API to poll in tests, and a site whose polls follow a script."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from connectors import poll
from connectors.base.contract import Item, Moved, NotConnected, Received
from connectors.base.reach.egress import Policy
from connectors.base.reach.http import ClientHttp
from tests.unit.connectors.serving import serving
from tests.unit.connectors.standing import Reading, StandIn

Answer = Callable[[web.Request], Any]
HERE = Policy(allowed=("127.0.0.0/8",))


class Scripted(StandIn):
    """Between two polls something happens; when nothing is left to happen, reading ends."""

    def __init__(self, *happens: Callable[[], Any], interval: float = 60.0, **options: Any) -> None:
        super().__init__(**options)
        self.happens, self._interval = list(happens), interval

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if seconds > self._interval:
            return
        if not self.happens:
            raise NotConnected("the script is over", reason="over")
        self.happens.pop(0)()


class Api:
    """Answers each request by a function of it: JSON, or a response."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[web.Request] = []
        self.place = ""

    @property
    def queries(self) -> list[dict[str, str]]:
        return [dict(request.query) for request in self.asked]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        found = self.answer(request)
        return found if isinstance(found, web.StreamResponse) else web.json_response(found)


@asynccontextmanager
async def api(answer: Answer) -> AsyncIterator[Api]:
    made = Api(answer)
    async with serving(made.handle) as made.place:
        yield made


@asynccontextmanager
async def client() -> AsyncIterator[ClientHttp]:
    async with ClientHttp(HERE) as http:
        yield http


def config(place: str, *, path: str = "/", interval: float = 60.0, **options: Any) -> poll.Config:
    """A poll of a server; options of `rest` and, with their own names, of the poll."""
    own = {name: options.pop(name) for name in ("existing", "max_pages", "event_type") if name in options}
    return poll.Config.model_validate(
        {"interval": interval, "rest": {"url": f"http://{place}{path}", **options}, **own}
    )


async def polled(options: poll.Config, site: StandIn) -> tuple[list[Item], Exception]:
    """Read until the script of the site is over; return everything that came, and why it ended."""
    reading = Reading(poll.Source(options, site), site)
    try:
        end = await reading.to_its_end()
    finally:
        await reading.close()
    return reading.taken, end


def ids(items: Sequence[Item]) -> list[str]:
    return [item.id for item in items if isinstance(item, Received)]


def positions(items: Sequence[Item]) -> list[Any]:
    return [item.position for item in items if isinstance(item, Moved)]
