"""Which workflows an event triggers: by logical topic, remembered per topic."""

from collections.abc import Iterable
from typing import Final

from app.engine.known import Definition
from headgate.definition import Workflow

_REMEMBERED: Final = 10_000

Match = Workflow | Definition
"""The code of a workflow, or its definition where the event has to sleep until there is code for it."""


class Matcher:
    """Answers by topic. Topics are unbounded in number, so the memory is emptied when it is full.

    Of what is given under one id, the first that matches counts: code before definitions.
    """

    __slots__ = ("_choices", "_known")

    def __init__(self, given: Iterable[Match]) -> None:
        choices: dict[str, list[Match]] = {}
        for one in given:
            choices.setdefault(one.id, []).append(one)
        self._choices = tuple(tuple(choices[name]) for name in sorted(choices))
        self._known: dict[str, tuple[Match, ...]] = {}

    def of(self, topic: str) -> tuple[Match, ...]:
        """Return what `topic` triggers, by id."""
        found = self._known.get(topic)
        if found is None:
            firsts = (next((one for one in several if one.matches(topic)), None) for several in self._choices)
            found = tuple(one for one in firsts if one is not None)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[topic] = found
        return found
