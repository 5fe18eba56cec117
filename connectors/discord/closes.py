"""What a close of the gateway means: the table of close codes, read by `session` when a connection has ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

KEEPING: Final = 4000
"""The code that we close with. The codes 1000 and 1001 would end the session, any other one keeps it for minutes."""


class Then(Enum):
    """What follows when a connection has ended."""

    RESUME = "resume"
    """Connect again and go on with the session, if there is one."""
    IDENTIFY = "identify"
    """The session is lost: connect again and begin a new one."""
    STOP = "stop"
    """Trying again does not help until somebody mends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    then: Then
    what: str
    """What happened, as a clause."""
    remedy: str = ""
    """What helps, where connecting again does not."""


CLOSES: Final[Mapping[int, Meaning]] = {
    4000: Meaning(then=Then.RESUME, what="Discord does not know what went wrong"),
    4001: Meaning(then=Then.RESUME, what="an opcode was not understood"),
    4002: Meaning(then=Then.RESUME, what="a payload could not be decoded"),
    4003: Meaning(then=Then.RESUME, what="something was sent before identifying"),
    4004: Meaning(then=Then.STOP, what="the token is wrong", remedy="give the bot's token of today as `token`"),
    4005: Meaning(then=Then.RESUME, what="the connection was identified twice"),
    4007: Meaning(then=Then.IDENTIFY, what="the sequence number of the resumption is not known"),
    4008: Meaning(then=Then.RESUME, what="too much was sent in a minute"),
    4009: Meaning(then=Then.IDENTIFY, what="the session has timed out"),
    4010: Meaning(then=Then.STOP, what="the shard does not exist", remedy="mend `shard: [id, count]`"),
    4011: Meaning(
        then=Then.STOP, what="the bot is in too many guilds for one shard", remedy="set `shard: [id, count]`"
    ),
    4012: Meaning(then=Then.STOP, what="version 10 of the gateway is not served", remedy="update Headgate"),
    4013: Meaning(then=Then.STOP, what="there are no such intents", remedy="mend `intents`"),
    4014: Meaning(
        then=Then.STOP,
        what="the bot is not allowed these intents",
        remedy="enable the privileged intents of the bot in Discord's developer portal, or take them out of `intents`",
    ),
}
"""Close codes of the gateway (Discord: Opcodes and Status Codes, Gateway Close Event Codes)."""

_OTHER: Final = Meaning(then=Then.RESUME, what="the connection ended")


def meaning(code: int | None) -> Meaning:
    """Return what a close code means; None is a link that broke without one.

    Codes that are not Discord's, 1000 and 1001 from the other side included, are answered with a resumption: it costs
    nothing, and Discord says when the session is over.
    """
    return _OTHER if code is None else CLOSES.get(code, _OTHER)
