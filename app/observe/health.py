"""Health of a process: what it needs, whether that is there, and what to do when it is not.

A process is alive as long as it answers, and ready while everything it needs is up: readiness takes it out of service,
a failed liveness restarts it, which helps against nothing outside of it. One that only answers others, as the gateway
does, is ready from the first time on that all was up: what is down then, it says in its answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

WAITING: Final = "not reported yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that the process needs; `detail` is a figure or a name, `remedy` what to do while it is down."""

    up: bool
    detail: str = ""
    remedy: str = ""

    def record(self) -> dict[str, object]:
        """As JSON shows it: nothing empty."""
        return {"up": self.up} | {name: text for name in ("detail", "remedy") if (text := getattr(self, name))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All checks at one moment."""

    checks: Mapping[str, Check] = field(default_factory=dict)
    served: bool = False
    """Whether it is ready whatever is down."""

    @property
    def whole(self) -> bool:
        """Whether everything needed is up."""
        return all(check.up for check in self.checks.values())

    @property
    def ready(self) -> bool:
        """Whether the process should get work."""
        return self.served or self.whole

    def record(self) -> dict[str, object]:
        """The body of `/readyz`."""
        return {"ready": self.ready, "checks": {name: check.record() for name, check in self.checks.items()}}


class Health:
    """Keeps the last word on each thing needed. Every name given at the start is down until it is reported up."""

    def __init__(self, *needed: str) -> None:
        self._checks = {name: Check(up=False, detail=WAITING) for name in needed}

    def up(self, name: str, detail: str = "") -> None:
        """`name` is there."""
        self._checks[name] = Check(up=True, detail=detail)

    def down(self, name: str, detail: str, *, remedy: str = "") -> None:
        """`name` is not there: `detail` says why."""
        self._checks[name] = Check(up=False, detail=detail, remedy=remedy)

    def report(self) -> Report:
        """What is up and what is not, now."""
        return Report(checks=dict(self._checks))
