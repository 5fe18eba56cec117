"""Polls: page after page, the new records of each as events, then the position; and waits for the next poll."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from connectors.base import contract
from connectors.base.contract import Item, Moved, Received, Refused, Unreadable
from connectors.poll import progress as known
from connectors.poll import times
from connectors.poll.config import Config
from connectors.poll.postgres import PostgresPages
from connectors.poll.progress import Page, Policy, Progress, Record, Value
from connectors.poll.rest import PageGone, RestPages
from connectors.poll.sqlite import SqlitePages


class Pages(Protocol):
    """Where pages come from: an HTTP API, or a table."""

    policy: Policy

    def begin(self) -> Progress:
        """Return what is known at the very beginning."""
        ...

    async def start(self) -> Progress | None:
        """Return what is known after skipping what exists at once; None where the first poll has to find that out."""
        ...

    def fits(self, following: Any) -> bool:
        """Tell whether a page that comes next by the position can be asked for with these options."""
        ...

    def now(self) -> Value | None:
        """Return the value beyond which records are from the future; None where there is no such thing."""
        ...

    async def page(self, progress: Progress) -> Page:
        """Return the page that comes next. Raises NotConnected, Refused, PageGone."""
        ...

    async def close(self) -> None:
        """Close what is open between the pages of a poll."""
        ...


class Source:
    """Exactly once per version of a record that a poll has seen: what changes twice between two polls is seen once."""

    def __init__(self, config: Config, site: contract.Site) -> None:
        self._config, self._site = config, site
        self._pages: Pages | None = None
        self._due = site.monotonic()

    async def read(self) -> AsyncIterator[Item]:
        """Poll for ever. Raises NotConnected and Refused; reading goes on after the last complete page."""
        pages = self._pages = self._pages or _pages(self._config, self._site)
        progress = self._known(pages)
        connected = False
        while True:
            if (left := self._due - self._site.monotonic()) > 0 and connected:
                await self._site.sleep(left)
            self._due = self._site.monotonic() + self._config.interval
            try:
                async with aclosing(self._poll(pages, progress)) as steps:
                    async for step in steps:
                        if not connected:
                            connected = True
                            self._site.connected()
                        for item in step.items:
                            yield item
                        if step.progress != progress:
                            progress = step.progress
                            yield Moved(position=progress.position())
            finally:
                await pages.close()

    def _known(self, pages: Pages) -> Progress:
        position = self._site.position
        if position is None:
            return pages.begin()
        try:
            found = known.read(position, pages.policy)
        except ValueError as error:
            message = f"the position of source {self._site.instance_id!r} cannot be read: {error}; give it a new id"
            raise Refused(message, reason="position") from error
        if found is None:
            self._site.note("reset")
            self._site.say("poll_begins_anew", reason="the cursor of its options is another one than before")
            return pages.begin()
        return found if found.next is None or pages.fits(found.next) else replace(found, next=None)

    async def _poll(self, pages: Pages, progress: Progress) -> AsyncGenerator["_Step", None]:
        """Yield the steps of one poll, a page each."""
        if progress.is_first and self._config.existing == "skip" and (skipped := await pages.start()) is not None:
            yield _Step(skipped, [])
            return
        before: tuple[str, ...] = ()
        for _ in range(self._config.max_pages):
            try:
                page = await pages.page(progress)
            except PageGone as error:
                self._site.note("restarted")
                self._site.say("poll_page_expired", reason=str(error))
                progress = replace(progress, next=None)
                page = await pages.page(progress)
            names = tuple(record.event_id for record in page.records)
            if names and names == before and page.next is not None:
                self._site.note("repeated_page")  # a server that knows no such parameter: the same page for ever
                page = replace(page, next=None)
            before = names
            step = self._step(page, progress, pages)
            progress = step.progress
            yield step
            if progress.next is None:
                return
        self._site.note("capped")

    def _step(self, page: Page, progress: Progress, pages: Pages) -> "_Step":
        try:
            taken = known.take(progress, page, pages.policy, now=pages.now())
        except known.TooMany as error:
            message = (
                f"source {self._site.instance_id!r} has more than {known.MOST_KNOWN} records to compare; "
                "give it a cursor by id, timestamp or token"
            )
            raise Refused(message, reason="too_many") from error
        for what, count in (("future", taken.future), ("forgotten", taken.forgotten)):
            if count:
                self._site.note(what, count)
        return _Step(taken.progress, [self._item(record, pages.policy) for record in taken.new])

    def _item(self, record: Record, policy: Policy) -> Item:
        if record.problem is not None:
            raw = json.dumps(record.data).encode()
            return Unreadable(id=record.event_id, reason=record.problem, raw=raw)
        created = times.moment(record.value) if policy.is_time and isinstance(record.value, int) else None
        return Received(
            id=record.event_id,
            event_type=self._config.event_type,
            data=record.data,
            key=record.key,
            created_at=created,
        )


class _Step:
    """What a page comes to."""

    def __init__(self, progress: Progress, items: list[Item]) -> None:
        self.progress, self.items = progress, items


def _pages(config: Config, site: contract.Site) -> Pages:
    if config.rest is not None:
        return RestPages(config, config.rest, site)
    assert config.sql is not None
    if config.sql.database.get_secret_value().startswith("sqlite:"):
        return SqlitePages(config, config.sql, site)
    return PostgresPages(config, config.sql, site)
