"""Which workflows an event triggers: by logical topic, remembered per topic."""

from collections.abc import Iterable
from typing import Final

from app.engine.values.known import Definition
from headgate.definition import Workflow
from topics.patterns import Pattern

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


class Cancellers:
    """Answers by topic of which workflows an event cancels runs, as their `cancel_on` says."""

    __slots__ = ("_known", "_patterns")

    def __init__(self, patterns: Iterable[tuple[str, tuple[Pattern, ...]]]) -> None:
        self._patterns = tuple(patterns)
        self._known: dict[str, tuple[str, ...]] = {}

    @classmethod
    def of_all(cls, given: Iterable[Match]) -> "Cancellers | None":
        """Return those of `given`, None if none names a topic. The first under one id counts."""
        firsts: dict[str, tuple[Pattern, ...]] = {}
        for one in given:
            firsts.setdefault(one.id, one.cancel_patterns)
        found = [(name, patterns) for name, patterns in sorted(firsts.items()) if patterns]
        return cls(found) if found else None

    def of(self, topic: str) -> tuple[str, ...]:
        """Return the ids of the workflows."""
        found = self._known.get(topic)
        if found is None:
            found = tuple(name for name, patterns in self._patterns if any(one.matches(topic) for one in patterns))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[topic] = found
        return found
