"""The worlds outside of a fleet, by their ids."""

from collections.abc import Iterable
from typing import Final

from tests.e2e.fleet.world import Place, World
from tests.e2e.fleet.worlds import chats, clouds, stores, web

ALL: Final[tuple[type[World], ...]] = (
    web.Stream,
    web.Items,
    stores.Sqlite,
    stores.Postgres,
    stores.Clock,
    web.Feed,
    stores.Files,
    stores.Records,
    stores.Entries,
    clouds.Queue,
    clouds.Topic,
    clouds.Uploads,
    clouds.Bucket,
    clouds.Notified,
    clouds.Listed,
    clouds.Subscription,
    chats.Workspace,
    chats.Guild,
    web.Hook,
    web.Socket,
    web.RepeatingSocket,
    web.ResumedSocket,
)
IDS: Final = tuple(world.id for world in ALL)


def wanted(ids: Iterable[str], place: Place) -> tuple[list[type[World]], dict[str, str]]:
    """Return the worlds of these ids whose peers are here, and why the others are not."""
    chosen = [world for world in ALL if world.id in set(ids)]
    absent = {world.id: reason for world in chosen if (reason := world.absent(place)) is not None}
    return [world for world in chosen if world.id not in absent], absent
