"""Names the coroutine that blocks the loop: while it does, no other run, partition or heartbeat goes on.

A thread asks the loop for a sign of life while runs are in hand. It looks into the loop's stack only when none comes,
so that runs cost nothing.
"""

import asyncio
import sys
import threading
from collections.abc import Collection, Mapping, Sequence
from types import FrameType
from typing import Any

from app.engine.tables.run import Run
from app.observe import logs
from headgate.definition import Workflow

_LOG = logs.get(__name__)


class Watchdog:
    """`limit_seconds`: how long the loop may be silent; `runs`: the tasks of those in hand, for without any there is no
    need.
    """

    def __init__(self, limit_seconds: float, runs: "Mapping[str, asyncio.Task[None]]") -> None:
        self._limit_seconds = limit_seconds
        self._runs = runs
        self._over = threading.Event()
        self._alive = threading.Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch the loop of the calling thread until `stop`."""
        watching = threading.Thread(
            target=self._watch, args=(loop, threading.get_ident()), name="watchdog", daemon=True
        )
        watching.start()

    def stop(self) -> None:
        self._over.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        while not self._over.wait(self._limit_seconds / 2):
            if not self._runs:
                continue
            self._alive.clear()
            try:
                loop.call_soon_threadsafe(self._alive.set)
            except RuntimeError:  # the loop is closed
                return
            if self._alive.wait(self._limit_seconds):
                continue
            frame = sys._current_frames().get(thread)
            if frame is not None and not self._alive.is_set():
                _LOG.warning("loop_blocked", longer_than_seconds=self._limit_seconds, **found(frame, self._runs))
            del frame
            while not self._alive.wait(0.1):  # once for each time
                if self._over.is_set():
                    return


def found(innermost: FrameType, runs: "Mapping[str, asyncio.Task[None]]") -> dict[str, Any]:
    """Return the workflow, run, step and line that a stack is in, as far as it tells.

    Of a task that an author's function has made it tells the file: then those of `runs` count that are written there.
    """
    frames: list[FrameType] = []
    frame: FrameType | None = innermost
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    run: Run | None = None
    step: str | None = None
    for one in reversed(frames):
        name = one.f_globals.get("__name__", "")
        if name == "app.runtime.driver" and isinstance(one.f_locals.get("run"), Run):
            run = one.f_locals["run"]
        elif name == "app.runtime.attempt" and one.f_code.co_name in ("_execute", "judge"):
            run = one.f_locals["self"].run
            step = one.f_locals["key"]
        elif name == "app.engine.starts.filters" and isinstance(one.f_locals.get("workflow"), Workflow):
            return _told(frames, {one.f_locals["workflow"].source_file: {one.f_locals["workflow"].id}})
    if run is None:
        return _told(frames, _sources(runs))
    own = next((one for one in frames if one.f_code.co_filename == run.workflow.source_file), innermost)
    told = {"workflow": run.workflow.id, "run": run.id, "place": f"{own.f_code.co_filename}:{own.f_lineno}"}
    return told if step is None else told | {"step": step}


def _told(frames: Sequence[FrameType], sources: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return the innermost line in one of these files, with the workflows written there; the innermost of all else."""
    for one in frames:
        workflows = sources.get(one.f_code.co_filename)
        if workflows:
            return {"workflow": ", ".join(sorted(workflows)), "place": f"{one.f_code.co_filename}:{one.f_lineno}"}
    return {"place": f"{frames[0].f_code.co_filename}:{frames[0].f_lineno}"}


def _sources(runs: "Mapping[str, asyncio.Task[None]]") -> dict[str, set[str]]:
    """Return the ids of the workflows in hand, by the files that they are written in. The loop stands still."""
    sources: dict[str, set[str]] = {}
    for task in list(runs.values()):
        frame = getattr(task.get_coro(), "cr_frame", None)
        run = None if frame is None else frame.f_locals.get("run")
        if isinstance(run, Run):
            sources.setdefault(run.workflow.source_file, set()).add(run.workflow.id)
    return sources
