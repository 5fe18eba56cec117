"""`ctx`: what an author's function holds of its run."""

from functools import cached_property
from typing import Any

from app.engine.inputs import Failure
from app.engine.tables.run import Run
from app.observe import logs
from app.runtime.attempt import Attempt
from app.runtime.live import Live, Report, Task
from app.runtime.replay import History
from app.runtime.sources import Sources
from app.runtime.steps import Steps
from headgate.event import Event


class RunContext:
    """One attempt of one run, as its author sees it (headgate.Context)."""

    __slots__ = ("__dict__", "_asking", "_live", "_over", "_report", "_run", "_task", "attempt")

    def __init__(self, run: Run, report: Report, live: Live, task: Task, history: History | None = None) -> None:
        self._run = run
        self._report = report
        self._live = live
        self._task = task
        self._over = False
        self.attempt = run.attempt
        self._asking = None if history is None else Attempt(run, run.attempt, report, live, task, history)

    @property
    def run_id(self) -> str:
        return self._run.id

    @property
    def workflow_id(self) -> str:
        return self._run.workflow.id

    @cached_property
    def events(self) -> tuple[Event[Any], ...]:
        return tuple(self._run.workflow.build_payload(self._run.events)["events"])

    @cached_property
    def log(self) -> "AuthorLog":
        return AuthorLog(self._run.id, self._run.workflow.id, self.attempt)

    @cached_property
    def step(self) -> Steps:
        asking = self._asking
        if asking is None:  # those runs alone that have steps need one
            asking = Attempt(self._run, self.attempt, self._report, self._live, self._task, None)
            self._asking = asking
            if self._over:
                asking.close(returned=False)
        return Steps(asking)

    @cached_property
    def sources(self) -> Sources:
        steps = self.step
        return Sources(steps._attempt, steps)

    def close(self, *, returned: bool) -> Failure | None:
        """The function ended: steps that it left behind come too late. Say what was wrong with it as a whole."""
        asking = self._asking
        if self._live.tasks.get(self._run.id) is self._task:
            self._over = True
        elif asking is not None:
            asking.pause()  # a plain function goes on when its task was cancelled
        return None if asking is None else asking.close(returned=returned)


class AuthorLog:
    """An author's logger (headgate.context.Log): every line says which run wrote it."""

    __slots__ = ("_run",)

    def __init__(self, run_id: str, workflow_id: str, attempt: int) -> None:
        self._run: dict[str, Any] = {"run": run_id, "workflow": workflow_id, "attempt": attempt}

    def debug(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.debug(_filled(message, args), **(fields | self._run))

    def info(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.info(_filled(message, args), **(fields | self._run))

    def warning(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.warning(_filled(message, args), **(fields | self._run))

    def error(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.error(_filled(message, args), **(fields | self._run))

    def exception(self, message: str, /, *args: object, **fields: Any) -> None:
        _LOG.error(_filled(message, args), **({"exc_info": True} | fields | self._run))


_LOG = logs.get("workflow")


def _filled(message: str, args: tuple[object, ...]) -> str:
    try:
        return message % args if args else message
    except (TypeError, ValueError):  # a line that is written wrongly fails no run
        return f"{message} {args!r}"
