"""Fan-out and join: each picture of an album is a run of its own, and the album goes on when all of them have ended.

headgate dev examples/fanout
headgate send albums/uploaded '{"album": "oslo", "pictures": ["a.jpg", "b.jpg", "broken.jpg"]}'
"""

from typing import Any

from pydantic import BaseModel

from headgate import ChildError, Context, Payload, Reject, workflow


class Album(BaseModel):
    """What `albums/uploaded` carries."""

    album: str
    pictures: list[str]


class Picture(BaseModel):
    """What a run of `thumbnail` gets."""

    album: str
    name: str


@workflow(id="thumbnail")
async def thumbnail(ctx: Context, payload: Payload[Picture]) -> str:
    """Nothing triggers it: it is started by name. The runs of an album are spread over all workers."""
    picture = payload["events"][0]["data"]
    return await ctx.step.run("shrink", shrink, picture)


def shrink(picture: Picture) -> str:
    """A plain function: it works in a thread."""
    if picture.name.startswith("broken"):
        raise Reject(f"{picture.name} is no picture")
    return f"{picture.album}/small-{picture.name}"


@workflow(id="album", trigger_on_event="albums/uploaded")
async def album(ctx: Context, payload: Payload[Album]) -> dict[str, Any]:
    """Begin all, wait for all; go on with what there is."""
    uploaded = payload["events"][0]["data"]
    if not uploaded.pictures:
        return {"thumbnails": [], "failed": None}
    children = [(thumbnail, {"album": uploaded.album, "name": name}) for name in uploaded.pictures]
    try:
        made = await ctx.step.batch_invoke_and_wait("thumbnails", children)
    except ChildError as error:
        return {"thumbnails": [one for one in error.results if one is not None], "failed": error.message}
    return {"thumbnails": list(made), "failed": None}
