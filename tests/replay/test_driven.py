"""What the runtime's own driver wrote once is read for ever: each such history goes on from wherever a worker may have
died, no step that was recorded runs again, and every run ends as it ended then.

Never edit a history. When one fails, runs that exist are called anew and are not told what their steps came to: keep
reading what was written.
"""

from contextlib import closing
from typing import Any

import pytest

from app.engine.values.asks import Kind
from headgate import Sources, Step
from tests.replay import driven
from tests.replay import history as histories

SINCE = {"2-driven-waits": ("waits", "all", 2)}
"""What a wait receives now that was not asked for before a worker died: what its author's `since` says. It was passed
by when the history was recorded, because a wait for one key had received a later event. A part of a run's result."""
NAMES = [name for name in histories.names() if "appends" in histories.load(name)]
CASES = [(name, appends) for name in NAMES for appends in driven.commits(histories.load(name))]


@pytest.mark.parametrize(("name", "appends"), CASES)
def test_runs_go_on_from_each_of_their_commits_to_what_they_came_to(name: str, appends: int) -> None:
    history = histories.load(name)
    with closing(driven.Stage(history, appends)) as stage:
        stage.go_on(history["end"])

    left = set(history["called"]) - driven.ended(history, appends)
    assert set(stage.called) == left
    now, then = (driven.outcome(one) for one in (history["appends"][:appends] + stage.appends, history["appends"]))
    for outcome in (now, then) if name in SINCE else ():
        workflow_id, step, n = SINCE[name]
        (result,) = (one["result"] for one in outcome["results"] if one["workflow_id"] == workflow_id)
        result[step][n] = None
    assert now == then


@pytest.mark.parametrize("name", NAMES)
def test_every_run_of_a_history_ended_as_its_author_meant(name: str) -> None:
    appends = histories.load(name)["appends"]
    found = driven.outcome(appends)

    assert {one["run_id"] for one in found["results"]} == driven.started(appends)
    assert {kind for kind, _ in found["errors"].values()} <= {None, "Unhelpful", "Lost", "Reject"}


@pytest.mark.parametrize(("room", "names"), [("step", vars(Step)), ("sources", vars(Sources))])
def test_whatever_an_author_may_call_is_called_in_some_history(room: str, names: dict[str, Any]) -> None:
    source = "\n".join(line for name in NAMES for line in histories.load(name)["source"])
    methods = {one for one in names if not one.startswith("_")}

    assert {one for one in methods if f"ctx.{room}.{one}(" not in source} == set()


def test_every_kind_of_step_is_recorded_in_some_history() -> None:
    steps = [step for name in NAMES for _, step in driven.steps(histories.load(name)["appends"])]

    assert {step["t"] for step in steps} == {kind.value for kind in Kind}
