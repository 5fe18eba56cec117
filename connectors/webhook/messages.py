"""What a receiver is given and what it answers: values alone, so that a delivery is judged without a server."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from connectors.base.contract import Received

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request, as it came. `headers` have names in lower case; `now` is aware."""

    method: str
    headers: Headers
    query: bytes
    body: bytes
    now: datetime

    def values(self, name: bytes) -> list[bytes]:
        """Return what a header says, once for each time it is there."""
        return [value for known, value in self.headers if known == name]

    def renamed(self, prefix: bytes, to: bytes) -> "Request":
        """Return the request with another prefix of headers; itself where headers with that are there already."""
        if any(name.startswith(to) for name, _ in self.headers):
            return self
        return replace(
            self,
            headers=tuple(
                (to + name.removeprefix(prefix) if name.startswith(prefix) else name, value)
                for name, value in self.headers
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The answer to a request."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Events came. `answer` is sent once all of them are durable, never before."""

    events: tuple[Received, ...]
    answer: Answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """The request is refused, and nothing of it was taken. No secret is in the words."""

    status: int
    code: str
    message: str
    remedy: str
    headers: tuple[tuple[str, str], ...] = field(default=())


Outcome = Accepted | Answered | Denied


class Denial(Exception):
    """Ends the judging of a request: it is answered with `denied`."""

    def __init__(
        self, status: int, code: str, message: str, *, remedy: str, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.denied = Denied(status=status, code=code, message=message, remedy=remedy, headers=headers)
