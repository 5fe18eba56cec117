"""One connection to the gateway, from hello to its end. Called by `reader` alone, which passes time and chance in.

    GREETING: connected; Discord has to say hello
    ASKING: greeted, without a session; the reader has to permit an Identify, which is counted
    IDENTIFYING: Identify is sent; READY has to come
    RESUMING: Resume is sent; what was missed comes, then RESUMED
    LIVE: READY or RESUMED has come
    OVER: a decision is made; nothing matters any more

`advance` takes what came and returns the link after it, with what must follow. What Discord sends never raises: what
has no place is the end of the connection, and of no more.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from connectors.discord import closes
from connectors.discord.closes import Then
from connectors.discord.frames import (
    MAX_SEQ,
    Acked,
    BeatAsked,
    Dispatched,
    Frame,
    Hello,
    Invalidated,
    ReconnectAsked,
    Unknown,
)

HELLO_SECONDS: Final = 30.0
"""Discord says hello at once; a link without it for so long is dead."""
PAUSE_SECONDS: Final = (1.0, 5.0)
"""After op 9 a client waits a random time of this range."""
MAX_ID_LENGTH: Final = 256
"""A longer id of a session would not fit into a Resume, with a token of any length."""
SENT_WITHIN_SECONDS: Final = 60.0
SENT_ANSWERS: Final = 100
"""Of 120 payloads a minute that Discord takes, so many may be heartbeats that it asked for itself."""


class Stage(Enum):
    GREETING = "greeting"
    ASKING = "asking"
    IDENTIFYING = "identifying"
    RESUMING = "resuming"
    LIVE = "live"
    OVER = "over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What a client needs to go on with a session. `seq` is that of the last dispatch."""

    id: str
    seq: int
    resume_url: str


def session_of(session_id: Any, seq: Any, resume_url: Any) -> Session | None:
    """Return the session of what was told or stored, None when it is none."""
    if not isinstance(session_id, str) or not 0 < len(session_id) <= MAX_ID_LENGTH:
        return None
    if type(seq) is not int or not 0 <= seq < MAX_SEQ or not isinstance(resume_url, str) or not resume_url:
        return None
    return Session(id=session_id, seq=seq, resume_url=resume_url)


# ---- what comes in besides frames ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """An Identify is within the budget, and counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """The time has come that `Link.due_at` named. `deaf`: nothing was read, because what was read has no room."""

    deaf: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Broke:
    """The connection ended, with a close code of the other side or without one."""

    code: int | None


Given = Frame | Permitted | Ticked | Broke

# ---- what must follow ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Send a heartbeat with the sequence number up to which everything is durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskPermission:
    """Find out whether an Identify is within the budget, count it, and tell `Permitted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify:
    """Send Identify."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Send Resume."""

    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """A new session has begun: what happened before it is not in it."""

    session: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """The session goes on: what was missed has come, the last of it with `seq`."""

    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Emit:
    """An event for the users."""

    session_id: str
    event: Dispatched


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Count something by name."""

    what: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Close the connection, and do what follows.

    `close` is the code to close with, None where the other side has closed. `at_once`: Discord asked for it.
    """

    then: Then
    reason: str
    message: str
    close: int | None = closes.KEEPING
    pause_seconds: float | None = None
    at_once: bool = False


Effect = Beat | AskPermission | Identify | Resume | Began | Resumed | Emit | Count | End

# ---- the link --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    stage: Stage
    session: Session | None
    """To be resumed, or begun; `seq` is that of the last dispatch that came."""
    due_at: float
    """When `Ticked` has to be told, in seconds of the monotonic clock."""
    interval_seconds: float = 0.0
    unanswered: bool = False
    """The last regular heartbeat was not acknowledged yet."""
    answered_at: tuple[float, ...] = ()
    """When heartbeats were sent that Discord asked for, in the last minute."""
    fruitless: bool = False
    """Resume was sent, and nothing of the session has come since."""


Moved = tuple[Link, tuple[Effect, ...]]
Handler = Callable[[Link, Any, float, float], Moved]


def opened(session: Session | None, *, now: float) -> Link:
    """Return a link that was just connected, to resume the session if there is one."""
    return Link(stage=Stage.GREETING, session=session, due_at=now + HELLO_SECONDS)


def advance(link: Link, given: Given, *, now: float, chance: float) -> Moved:
    """Return the link after `given`, and what must follow. `now` is monotonic seconds, `chance` of [0, 1)."""
    return TRANSITIONS[link.stage][type(given)](link, given, now, chance)


# ---- handlers --------------------------------------------------------------------------------------------------------


def _stay(link: Link, given: Given, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    return link, ()


def _unknown(link: Link, given: Unknown, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    return link, (Count(what="unknown_opcodes"),)


def _greeted(link: Link, given: Hello, now: float, chance: float) -> Moved:
    link = replace(link, interval_seconds=given.interval_seconds, due_at=now + given.interval_seconds * chance)
    if link.session is None:
        return replace(link, stage=Stage.ASKING), (AskPermission(),)
    return replace(link, stage=Stage.RESUMING, fruitless=True), (Resume(session=link.session),)


def _permitted(link: Link, given: Permitted, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    return replace(link, stage=Stage.IDENTIFYING), (Identify(),)


def _silent(link: Link, given: Ticked, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    if now < link.due_at:
        return link, ()
    message = f"Discord said no hello within {HELLO_SECONDS:g} s"
    return _over(link, End(then=Then.RESUME, reason="timeout", message=message))


def _due(link: Link, given: Ticked, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    if now < link.due_at:
        return link, ()
    if link.unanswered and not given.deaf:
        message = "Discord acknowledged no heartbeat for a whole interval: the link is dead"
        return _over(link, End(then=Then.RESUME, reason="heartbeat", message=message))
    # Counted from now: a loop that was late sends one heartbeat and not several.
    return replace(link, due_at=now + link.interval_seconds, unanswered=True), (Beat(),)


def _acked(link: Link, given: Acked, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    return replace(link, unanswered=False), ()


def _asked(link: Link, given: BeatAsked, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    # Whether it is acknowledged says nothing about the regular ones, which alone decide about the link.
    lately = tuple(at for at in link.answered_at if at > now - SENT_WITHIN_SECONDS)
    if len(lately) >= SENT_ANSWERS:
        return replace(link, answered_at=lately), (Count(what="heartbeats_refused"),)
    return replace(link, answered_at=(*lately, now)), (Beat(),)


def _reconnect(link: Link, given: ReconnectAsked, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    return _over(link, End(then=Then.RESUME, reason="op_7", message="Discord asked for a new connection", at_once=True))


def _invalidated(link: Link, given: Invalidated, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    least, most = PAUSE_SECONDS
    pause = least + (most - least) * chance
    if given.resumable and link.session is not None:
        message = "Discord interrupted the session, which may be resumed"
        return _over(link, End(then=Then.RESUME, reason="op_9_resumable", message=message, pause_seconds=pause))
    what = "began no session" if link.session is None else "ended the session"
    message = f"Discord {what}; a new one follows"
    return _over(link, End(then=Then.IDENTIFY, reason="op_9", message=message, pause_seconds=pause))


def _early(link: Link, given: Dispatched, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    message = f"Discord sent {given.name} before there was a session"
    return _over(link, End(then=Then.RESUME, reason="protocol", message=message))


def _first(link: Link, given: Dispatched, now: float, chance: float) -> Moved:
    if given.name == "READY":
        return _began(link, given)
    return _early(link, given, now, chance)


def _began(link: Link, given: Dispatched) -> Moved:
    data = given.data if isinstance(given.data, dict) else {}
    session = session_of(data.get("session_id"), given.seq, data.get("resume_gateway_url"))
    if session is None:
        message = "Discord sent READY without session_id and resume_gateway_url"
        return _over(link, End(then=Then.IDENTIFY, reason="protocol", message=message))
    return replace(link, stage=Stage.LIVE, session=session, fruitless=False), (Began(session=session),)


def _dispatched(link: Link, given: Dispatched, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    if given.name == "READY":
        return _began(link, given)
    session = link.session
    assert session is not None, "only links with a session take dispatches"
    after = replace(link, session=replace(session, seq=max(session.seq, given.seq)), fruitless=False)
    skipped = given.seq - session.seq - 1
    gap: tuple[Effect, ...] = (Count(what="missed", count=skipped),) if skipped > 0 else ()
    if given.name == "RESUMED":
        return replace(after, stage=Stage.LIVE), (*gap, Resumed(seq=given.seq))
    return after, (*gap, Emit(session_id=session.id, event=given))


def _broke(link: Link, given: Broke, now: float, chance: float) -> Moved:  # noqa: ARG001 a handler
    read = closes.meaning(given.code)
    how = "without a close code" if given.code is None else f"with code {given.code}"
    message = f"Discord closed the connection {how}: {read.what}{f'; {read.remedy}' if read.remedy else ''}"
    reason = "closed" if given.code is None else f"close_{given.code}"
    return _over(link, End(then=read.then, reason=reason, message=message, close=None))


def _over(link: Link, end: End) -> Moved:
    return replace(link, stage=Stage.OVER), (end,)


_ANYTIME: Final[Mapping[type[Given], Handler]] = {
    Unknown: _unknown,
    ReconnectAsked: _reconnect,  # may even come instead of hello
    Invalidated: _invalidated,
    Broke: _broke,
}
_GREETED: Final[Mapping[type[Given], Handler]] = {
    **_ANYTIME,
    Hello: _stay,
    Ticked: _due,
    Acked: _acked,
    BeatAsked: _asked,
    Permitted: _stay,
}
TRANSITIONS: Final[Mapping[Stage, Mapping[type[Given], Handler]]] = {
    Stage.GREETING: {
        **_ANYTIME,
        Hello: _greeted,
        Ticked: _silent,
        Acked: _stay,
        BeatAsked: _stay,  # the first heartbeat waits for hello, however early it is asked for
        Permitted: _stay,
        Dispatched: _early,
    },
    Stage.ASKING: {**_GREETED, Permitted: _permitted, Dispatched: _early},
    Stage.IDENTIFYING: {**_GREETED, Dispatched: _first},
    Stage.RESUMING: {**_GREETED, Dispatched: _dispatched},
    Stage.LIVE: {**_GREETED, Dispatched: _dispatched},
    # What was on its way when the decision fell; its events come again when the session is resumed.
    Stage.OVER: dict.fromkeys(
        (Hello, Acked, BeatAsked, ReconnectAsked, Invalidated, Dispatched, Unknown, Permitted, Ticked, Broke), _stay
    ),
}
