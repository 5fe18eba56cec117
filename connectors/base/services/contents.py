"""What is in an object, as part of its event: only if asked for, and only up to a size. For `s3` and `gcs`."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

from connectors.base.options import Field, Options
from connectors.base.services.bodies import Form, NotOfThatForm, read


class Content(StrEnum):
    """How an object is read."""

    NONE = "none"
    """Not at all."""
    AUTO = "auto"
    JSON = "json"
    TEXT = "text"
    BASE64 = "base64"


class ContentOptions(Options):
    """Whether events have what is in their objects."""

    content: Content = Field(
        default=Content.NONE,
        description="Whether the event has what is in the object: `none`, `json`, `text`, `base64`, or `auto`: objects "
        "and lists of JSON as such, else text, else base64. Where it is left out, `content_omitted` says why: "
        "`too_large`, `changed` or gone since, `archived`, `unreadable` in that form.",
    )
    max_content_bytes: int = Field(
        default=256 * 1024,
        ge=1,
        le=1024 * 1024,
        description="The content of larger objects is left out; `content_omitted` says `too_large` then.",
    )


class Omitted(Exception):
    """What is in an object cannot be had: `changed` (or gone), or `archived`."""


async def content_of(
    options: ContentOptions, size_bytes: int | None, fetch: Callable[[int], Awaitable[bytes]]
) -> dict[str, Any]:
    """Return what an event says of its object's content. `fetch` gets the most bytes to read, and may raise Omitted."""
    if options.content is Content.NONE:
        return {}
    most = options.max_content_bytes
    if size_bytes is not None and size_bytes > most:
        return _omitted("too_large")
    try:
        body = await fetch(most + 1)
        if len(body) > most:
            return _omitted("too_large")
        return {"content": read(body, Form(options.content)), "content_omitted": None}
    except Omitted as why:
        return _omitted(str(why))
    except NotOfThatForm:
        return _omitted("unreadable")


def _omitted(why: str) -> dict[str, Any]:
    return {"content": None, "content_omitted": why}
