"""Names of Kafka topics that are not Headgate's own: what an event's `reply_topic` and `ctx.step.send` may name.

Called by the limits of engine and steps, and by what sends. A name that Kafka cannot have is refused here, before any
client sees it: one too long for Kafka's protocol ends the task of aiokafka that keeps its metadata.
"""

import re
from typing import Final

MOST_CHARACTERS: Final = 249
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,249}", re.ASCII)


def is_topic(name: str) -> bool:
    """Say whether a Kafka topic can have this name, and whether it is for clients: those that begin with `__` are
    Kafka's own.
    """
    return _NAME.fullmatch(name) is not None and name not in (".", "..") and not name.startswith("__")


RULE: Final = (
    f"1 to {MOST_CHARACTERS} of the characters A-Z, a-z, 0-9, dot, dash and underscore, and not two underscores first"
)
"""Such a name in words."""
