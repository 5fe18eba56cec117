"""A `headgate.providers.TriggerProvider` of a third party as a source of the frame."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from typing import Any

from pydantic import ConfigDict

from connectors.base.closing import end
from connectors.base.contract import UNMOVED, NotConnected, Received, Refused, Site, Source
from connectors.base.options import Options
from headgate.providers import Disconnected, Emit, Failed, SourceEvent, TriggerProvider


class AnyOptions(Options):
    """Options that the provider itself checks."""

    model_config = ConfigDict(extra="allow")


def maker(provider: Callable[[], TriggerProvider]) -> Callable[[Any, Site], Source]:
    """Return what makes a source of the provider's class."""
    return lambda config, site: _Provided(provider, config, site)


class _Provided:
    """One provider for all connections that break: `init` once, `run` for each of them, `shutdown` at the end."""

    def __init__(self, provider: Callable[[], TriggerProvider], config: AnyOptions, site: Site) -> None:
        self._make, self._config, self._site = provider, config, site
        self._provider: TriggerProvider | None = None

    async def read(self) -> AsyncIterator[Received]:
        emitted: asyncio.Queue[Received] = asyncio.Queue(1)
        provider = await self._made()
        running = asyncio.create_task(_run(provider, _emitting(emitted), deepcopy(self._site.position)))
        goes_on = False
        try:
            self._site.connected()
            while True:
                getting = asyncio.ensure_future(emitted.get())
                try:
                    await asyncio.wait({getting, running}, return_when=asyncio.FIRST_COMPLETED)
                    if not getting.done():
                        with _translated():
                            running.result()
                        raise NotConnected(f"the provider of source {self._site.instance_id!r} returned")
                    yield getting.result()
                finally:
                    getting.cancel()
        except NotConnected:
            goes_on = True
            raise
        finally:
            await end([running])
            if not goes_on:
                await self.close()

    async def close(self) -> None:
        provider, self._provider = self._provider, None
        if provider is not None:
            with suppress(Disconnected, Failed):
                await provider.shutdown()

    async def _made(self) -> TriggerProvider:
        if self._provider is None:
            provider = self._make()
            with _translated():
                await provider.init(self._config.model_dump())
            self._provider = provider
        return self._provider


def _emitting(emitted: "asyncio.Queue[Received]") -> Emit:
    async def emit(event: SourceEvent, *, position: Any = UNMOVED) -> None:
        # The provider may go on with the same object: what is stored is where it was, not where it has got to.
        position = deepcopy(position)
        for name, text in (("id", event.id), ("type", event.type), ("key", event.key or "")):
            if not isinstance(text, str):
                raise Failed(f"the provider has emitted an event whose {name} is no text: {text!r:.100}")
        durable = asyncio.get_running_loop().create_future()

        async def ack() -> None:
            if not durable.done():
                durable.set_result(None)

        item = Received(
            id=event.id,
            event_type=event.type,
            data=event.data,
            key=event.key,
            created_at=event.created_at,
            position=position,
            ack=ack,
        )
        await emitted.put(item)
        await durable

    return emit


async def _run(provider: TriggerProvider, emit: Emit, position: Any) -> None:
    try:
        await provider.run(emit, position)
    except SystemExit as error:  # it would end the process, of which this is one source among many
        raise RuntimeError("a provider is not to end the process") from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Disconnected as error:
        raise NotConnected(str(error), retry_after_seconds=error.retry_after_seconds) from error
    except Failed as error:
        raise Refused(str(error)) from error
