"""Reads the arguments of `@workflow`; each mistake is a DefinitionError with the place and the remedy."""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, Final, NoReturn

from headgate.errors import DefinitionError
from headgate.filters import is_async
from headgate.schedule import CatchUp, Schedule
from topics.cron import EXAMPLE, CronError
from topics.patterns import Pattern, PatternError
from topics.verdicts import MAX_DELAY_SECONDS

POSITIONAL: Final = ("id", "trigger_on_event")
NAMES: Final = (
    *POSITIONAL,
    "batch_size",
    "batch_timeout_seconds",
    "batch_by",
    "filter",
    "order",
    "max_retries",
    "timeout",
    "schedule",
    "cancel_on",
    "cancel_filter",
    "on_failure",
    "version",
)
_OF_SCHEDULE: Final = ("cron", "timezone", "catch_up")
_NOT_FIRST: Final = ("payload", "event", "events")
MAX_ID: Final = 200
_ID: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


class Reader:
    """The arguments that were given for one workflow."""

    def __init__(self, given: Mapping[str, Any], *, workflow_id: str, place: str) -> None:
        self._given = given
        self._workflow_id = workflow_id
        self._place = place

    def wrong(self, problem: str, remedy: str) -> NoReturn:
        """Raise the DefinitionError that says so."""
        raise DefinitionError(self._workflow_id, self._place, problem, remedy)

    def check_names(self, *, too_many: bool, twice: Sequence[str]) -> None:
        """Refuse arguments that do not exist."""
        if too_many:
            self.wrong("too many arguments without a name", "name them: @workflow(id=..., trigger_on_event=..., ...)")
        if twice:
            self.wrong(f"{twice[0]} is given twice", f"give {twice[0]} once")
        for name in self._given:
            if name not in NAMES:
                near = get_close_matches(name, NAMES, 1, 0.5)
                self.wrong(
                    f"there is no argument {name!r}", f"write {near[0]}=" if near else f"there are: {', '.join(NAMES)}"
                )

    def workflow_id_of(self, function_name: str) -> str:
        """Return the id that was given, else the function's name."""
        found = self._given.get("id")
        if found is None:
            found = function_name
        example = "for example id='on_order_created'"
        if not isinstance(found, str):
            self.wrong(f"id is {found!r}, not text", example)
        if len(found) > MAX_ID:
            self.wrong(f"id has {len(found)} characters", f"at most {MAX_ID} are allowed")
        if not _ID.fullmatch(found):
            # No colon: run ids are "<workflow id>:<digest>". No slash: ids stand in the paths of the HTTP API.
            self.wrong(
                f"the id {found!r} is not made of letters, digits, '_', '-' and '.' alone, or starts with '-' or '.'",
                example,
            )
        return found

    def patterns(self, name: str) -> tuple[Pattern, ...]:
        """Return triggers: none, one, or several."""
        found = self._given.get(name)
        if found is None:
            return ()
        example = f"for example {name}='orders/created' or {name}=['orders/*', 'refunds/*']"
        if not isinstance(found, str) and not isinstance(found, Iterable):
            self.wrong(f"{name} is {found!r}", example)
        texts = [found] if isinstance(found, str) else list(found)
        if not texts:
            self.wrong(f"{name} is an empty list", f"name a topic, {example}")
        parsed = []
        if not all(isinstance(text, str) for text in texts):
            self.wrong(f"{name} is {found!r}", example)
        for text in dict.fromkeys(texts):
            try:
                parsed.append(Pattern.parse(text))
            except PatternError as error:
                self.wrong(f"{name}: {error}", example)
        return tuple(parsed)

    def integer(self, name: str, *, default: int, least: int, most: int) -> int:
        """Return a whole number within its bounds."""
        found = self._given.get(name, default)
        if isinstance(found, bool) or not isinstance(found, int) or not least <= found <= most:
            self.wrong(f"{name} is {found!r}", f"give a whole number from {least} to {most}")
        return found

    def seconds(self, name: str) -> float | None:
        """Return a time span in seconds, None for none."""
        found = self._given.get(name)
        if found is None:
            return None
        value = found.total_seconds() if isinstance(found, timedelta) else found
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            self.wrong(f"{name} is {found!r}", f"give seconds or a timedelta, for example {name}=30")
        if value <= 0:
            self.wrong(
                f"{name} is {found!r}", f"give more than 0 seconds, for example {name}=30, or leave it out for none"
            )
        if value > MAX_DELAY_SECONDS:
            self.wrong(f"{name} is {found!r}, more than ten years", "give less, or leave it out for no limit")
        return float(value)

    def choice(self, name: str, choices: type[StrEnum], *, default: StrEnum) -> str:
        """Return one of the values of an enumeration."""
        found = self._given.get(name, default)
        values = [member.value for member in choices]
        if found not in values:
            near = get_close_matches(found, values, 1, 0.3) if isinstance(found, str) else []
            advice = f"did you mean {name}={near[0]!r}? There " if near else "there "
            self.wrong(f"{name} is {found!r}", advice + f"are: {', '.join(map(repr, values))}")
        return str(found)

    def text(self, name: str, *, default: str) -> str:
        """Return a text that is not empty."""
        found = self._given.get(name, default)
        if not isinstance(found, str) or not found.strip() or len(found) > MAX_ID or not found.isprintable():
            self.wrong(f"{name} is {found!r}", f"give a short text, for example {name}='2'")
        return found

    def schedule(self, name: str) -> Schedule | None:
        """Return when the workflow starts by itself, None for never."""
        found = self._given.get(name)
        if found is None:
            return None
        given = {"cron": found} if isinstance(found, str) else found
        if not isinstance(given, Mapping):
            self.wrong(f"{name} is {found!r}", f"give cron text, {EXAMPLE}; or a dict of {', '.join(_OF_SCHEDULE)}")
        for one in given:
            if one not in _OF_SCHEDULE:
                near = get_close_matches(str(one), _OF_SCHEDULE, 1, 0.5)
                advice = f"write {near[0]!r}" if near else f"there are: {', '.join(_OF_SCHEDULE)}"
                self.wrong(f"{name} has no {one!r}", advice)
        text, timezone = given.get("cron"), given.get("timezone", "UTC")
        if not isinstance(text, str):
            self.wrong(
                f"cron of {name} is {text!r}" if "cron" in given else f"{name} has no cron", f"give text, {EXAMPLE}"
            )
        if not isinstance(timezone, str):
            self.wrong(f"timezone of {name} is {timezone!r}", "give an IANA name, for example 'Europe/Berlin'")
        catch_up = given.get("catch_up", CatchUp.ONCE)
        if catch_up not in list(CatchUp):
            self.wrong(
                f"catch_up of {name} is {catch_up!r}", f"there are: {', '.join(repr(one.value) for one in CatchUp)}"
            )
        made = Schedule(cron=text.strip(), timezone=timezone, catch_up=CatchUp(catch_up))
        try:
            made.read()
        except CronError as error:
            self.wrong(f"{name}: {error.problem}", error.remedy)
        return made

    def workflow(self, name: str) -> str | None:
        """Return the id of another workflow that is named by it or by itself, None for none."""
        found = self._given.get(name)
        if found is None:
            return None
        workflow_id = found if isinstance(found, str) else getattr(found, "id", None)
        if not isinstance(workflow_id, str) or len(workflow_id) > MAX_ID or not _ID.fullmatch(workflow_id):
            self.wrong(f"{name} is {found!r:.200}", f"give a workflow or its id, for example {name}='tell_support'")
        if workflow_id == self._workflow_id:
            self.wrong(f"{name} is the workflow itself", "name another workflow, which looks at its failures")
        return workflow_id

    def check_cancels(self, *, cancels: bool, filtered: bool, batch_size: int, by_key: bool) -> None:
        """Refuse `cancel_on` where a run has no key of its own, and a filter of it without it."""
        if filtered and not cancels:
            self.wrong(
                "it has cancel_filter and no cancel_on, so there are no events that it could be asked about",
                "add cancel_on, or leave cancel_filter out",
            )
        if cancels and batch_size > 1 and not by_key:
            self.wrong(
                "it has cancel_on and batch_size above 1, and the events of a batch have several keys",
                "add batch_by='key', or leave cancel_on out",
            )

    def check_starts(self, *, schedule: Schedule | None, batch_size: int, batch_timeout_seconds: float | None) -> None:
        """Refuse a workflow that would be loaded and not do what its author thinks."""
        if schedule is not None and batch_size > 1:
            self.wrong(
                "it has a schedule and batch_size above 1, and a scheduled run has one event, of its own",
                "make two workflows of it",
            )
        if batch_timeout_seconds is not None and batch_size == 1:
            self.wrong(
                "batch_timeout_seconds is given and batch_size is 1, so there is no batch that could wait",
                "give batch_size above 1, or leave batch_timeout_seconds out",
            )

    def filter(self, name: str) -> Callable[..., bool] | None:
        """Return a plain function of one argument, None for none."""
        found = self._given.get(name)
        if found is None:
            return None
        example = f"give a function of the event, for example {name}=lambda event: event['data']['total'] > 100"
        if not callable(found):
            self.wrong(f"{name} is {found!r}, which cannot be called", example)
        if is_async(found):
            self.wrong(f"{name} is an async function, and the engine does not wait for it", "write it with def")
        try:
            inspect.signature(found).bind(None)
        except TypeError:
            self.wrong(f"{name} cannot be called with one argument", example)
        except ValueError:
            pass  # some built-in functions tell nothing about their arguments
        return found  # type: ignore[no-any-return]

    def parameters(self, fn: Callable[..., Any], inner: Callable[..., Any]) -> tuple[bool, Any]:
        """Return whether the function takes a payload, and that parameter's annotation."""
        shape = "write it as async def name(ctx, payload), or with ctx alone"
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            self.wrong("the function yields", "return its result instead; " + shape)
        signature = inspect.signature(fn)
        first = next(iter(signature.parameters), None)
        if first in _NOT_FIRST:
            self.wrong(f"the function's first parameter is {first!r}, and it would get ctx", shape)
        if (bound := _bound(signature, 2)) is not None:
            parameter = signature.parameters[[*bound.arguments][-1]]
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                return True, inspect.Parameter.empty
            return True, parameter.annotation
        if _bound(signature, 1) is None:
            self.wrong(f"the function's parameters are {signature}", shape)
        return False, inspect.Parameter.empty


def _bound(signature: inspect.Signature, count: int) -> inspect.BoundArguments | None:
    try:
        return signature.bind(*(None,) * count)
    except TypeError:
        return None
