"""Where reading stands: the session to be resumed, the newest message of each channel, and the count of identifies.

It moves with what is durable: the reader hands it on with events, and reads what is stored when it connects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from connectors.discord import snowflakes
from connectors.discord.budget import Starts
from connectors.discord.session import Session, session_of

CHANNELS: Final = 256
"""The newest message is known of so many channels, those in which something came last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    session: Session | None = None
    newest: Mapping[str, str] = field(default_factory=dict)
    """Channel ids with the newest message id of each, in the order in which they changed."""
    gaps: tuple[str, ...] = ()
    """Channels whose messages since `newest` have to be asked for: the session that would have told them is lost."""
    starts: Starts = field(default_factory=Starts)
    terms: str = ""
    """What the session was asked for: one that was asked for something else is not resumed."""

    def begun(self, session: Session, *, terms: str, asked: Sequence[str], since: str) -> "Place":
        """Return the place at the begin of a session: it has gaps in the channels that are known, or asked for.

        `asked`, channels by configuration, replaces the known ones; those without a message yet are looked at from
        `since` on.
        """
        newest = dict(self.newest)
        for channel in asked:
            newest.setdefault(channel, since)
        newest = _bounded(newest, asked)
        return replace(self, session=session, terms=terms, newest=newest, gaps=tuple(asked or newest))

    def lost(self) -> "Place":
        return replace(self, session=None, terms="")

    def passed(self, seq: int) -> "Place":
        """Return the place after a dispatch, or the same when it has none like it."""
        session = self.session
        if session is None or seq <= session.seq:
            return self
        return replace(self, session=replace(session, seq=seq))

    def told(self, channel: str, message: str, *, kept: Sequence[str] = ()) -> "Place":
        """Return the place after a message; `kept` are channels that are never forgotten."""
        known = self.newest.get(channel)
        newest = {one: last for one, last in self.newest.items() if one != channel}
        newest[channel] = message if known is None or snowflakes.newer(message, known) else known
        return replace(self, newest=_bounded(newest, (*kept, *self.gaps)))

    def filled(self, channel: str) -> "Place":
        return replace(self, gaps=tuple(one for one in self.gaps if one != channel))

    def as_json(self) -> dict[str, Any]:
        stored: dict[str, Any] = {"identifies": self.starts.as_json()}
        if self.session is not None:
            stored |= {"session_id": self.session.id, "seq": self.session.seq, "resume_url": self.session.resume_url}
            stored["terms"] = self.terms
        if self.newest:
            stored["newest"] = dict(self.newest)
        if self.gaps:
            stored["gaps"] = list(self.gaps)
        return stored

    @classmethod
    def read(cls, stored: Any) -> "Place":
        """Read what `as_json` made; what is no such thing is left out."""
        stored = stored if isinstance(stored, dict) else {}
        newest = stored.get("newest") if isinstance(stored.get("newest"), dict) else {}
        gaps = stored.get("gaps") if isinstance(stored.get("gaps"), list) else []
        known = {
            channel: last
            for channel, last in newest.items()
            if snowflakes.read(channel) is not None and snowflakes.read(last) is not None
        }
        session = session_of(stored.get("session_id"), stored.get("seq"), stored.get("resume_url"))
        terms = stored.get("terms")
        return cls(
            session=session,
            newest=known,
            gaps=tuple(channel for channel in gaps if isinstance(channel, str) and channel in known),
            starts=Starts.read(stored.get("identifies")),
            terms=terms if session is not None and isinstance(terms, str) else "",
        )


def _bounded(newest: dict[str, str], kept: Sequence[str]) -> dict[str, str]:
    if len(newest) <= CHANNELS:
        return newest
    never = set(kept)
    spare = [channel for channel in newest if channel not in never][: len(newest) - CHANNELS]
    return {channel: last for channel, last in newest.items() if channel not in set(spare)}
