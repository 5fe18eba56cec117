"""A digest of feeds every hour: what came in an hour is one run, and the hour goes on over every restart.

headgate dev examples/rss_digest examples/rss_digest/sources.yaml
"""

import os
from typing import Any, Final

from pydantic import BaseModel

from headgate import Context, Payload, workflow

EVERY_SECONDS: Final = float(os.environ.get("DIGEST_SECONDS", "3600"))
MOST: Final = 200


class Feed(BaseModel):
    """Where an item is from."""

    title: str | None = None


class Item(BaseModel):
    """What the source says of a new item, as far as it matters here."""

    id: str
    title: str | None = None
    link: str | None = None
    feed: Feed = Feed()


@workflow(id="rss_digest", trigger_on_event="news/*", batch_size=MOST, batch_timeout_seconds=EVERY_SECONDS)
async def rss_digest(ctx: Context, payload: Payload[Item]) -> dict[str, Any]:
    """Make one text of what came. Its hour begins with its first item: a quiet hour has no digest."""
    feeds: dict[str, dict[str, str]] = {}
    for event in payload["events"]:
        item = event["data"]
        where = item.link or item.id  # an item that two feeds have is told once
        if not any(where in told for told in feeds.values()):
            feeds.setdefault(item.feed.title or event["topic"], {})[where] = item.title or where
    text = "\n".join(
        f"## {feed}\n\n" + "".join(f"- [{title}]({link})\n" for link, title in told.items())
        for feed, told in sorted(feeds.items())
    )
    items = sum(map(len, feeds.values()))
    await ctx.step.publish_event("tell", topic="digests/made", data={"items": items, "text": text})
    return {"items": items, "feeds": sorted(feeds)}


@workflow(id="send_digest", trigger_on_event="digests/made")
async def send_digest(ctx: Context, payload: Payload[dict[str, Any]]) -> str:
    """Send it. It has tries of its own: nothing is gathered twice because a mail server is away."""
    digest = payload["events"][0]["data"]
    return await ctx.step.run("mail", mail, digest["text"], max_retries=20, max_delay=600)


async def mail(text: str, idempotency_key: str) -> str:
    """Hand the text to whatever sends mails here. Equal keys are one mail to it."""
    return text
