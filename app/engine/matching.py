"""Which workflows an event triggers: by logical topic, remembered per topic."""

from collections.abc import Iterable
from typing import Final

from headgate.definition import Workflow

_REMEMBERED: Final = 10_000


class Matcher:
    """Answers by topic. Topics are unbounded in number, so the memory is emptied when it is full."""

    __slots__ = ("_known", "workflows")

    def __init__(self, workflows: Iterable[Workflow]) -> None:
        self.workflows: tuple[Workflow, ...] = tuple(sorted(workflows, key=lambda one: one.id))
        self._known: dict[str, tuple[Workflow, ...]] = {}

    def of(self, topic: str) -> tuple[Workflow, ...]:
        """Return the workflows that `topic` triggers, by id."""
        found = self._known.get(topic)
        if found is None:
            found = tuple(one for one in self.workflows if any(p.matches(topic) for p in one.patterns))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[topic] = found
        return found
