"""Journals that were written once are read for ever: each history goes on from each of its commits as it went on then.
Those that the runtime's own driver wrote are in `test_driven.py`.

Never edit a history. When one fails, journals that exist are no longer read as they were meant: keep reading them, or
move `topics.journal.FORMAT` and say in the changelog how to get from one to the other.
"""

import re
from typing import Any

import pytest

from app.engine.runs import handlers
from tests.replay import history as histories
from tests.replay import scenarios
from tests.replay.history import Player
from topics import causation, journal

NAMES = [name for name in histories.names() if "steps" in histories.load(name)]
CASES = [
    (name, number)
    for name in NAMES
    for number in range(sum("commit" in step for step in histories.load(name)["steps"]) + 1)
]


@pytest.mark.parametrize(("name", "commits"), CASES)
def test_a_history_goes_on_from_each_of_its_commits_to_the_results_that_it_had(name: str, commits: int) -> None:
    history = histories.load(name)
    player = Player(history, histories.entities_after(history, commits) if commits else None)
    done, loaded, now = 0, 0, 0
    sent: list[Any] = []
    for step in history["steps"]:
        if done < commits:  # this is what the journal stands for
            if "commit" in step:
                done += 1
                sent.append(step["commit"]["sent"])
            else:
                loaded, now = step.get("load", loaded), step["now"]
            if done == commits:
                assert [histories.shown(one) for one in player.again] == undelivered(sent, player.state.delivered)
                player.load(loaded, now)
        elif "commit" in step:
            found = player.commit()
            assert found is not None
            assert told(found["sent"], history) == told(step["commit"]["sent"], history)
        else:
            player.give(step)

    assert sorted(key.decode().split(":")[0] for key in player.entities) == history["end"]
    assert player.state.runs == {}


def told(sent: Any, history: dict[str, Any]) -> Any:
    """What was sent but for the remedies of its dead letters: advice may get better, and no journal depends on it.

    In format 1 nothing was told of steps.
    """
    if not isinstance(sent, dict):
        return sent
    # When an attempt of a step began is another time after a takeover, which had it begun anew.
    facts = [[_without_details(_without_start(field)) for field in one] for one in sent["runs"]]
    runs = [one for one in facts if history["format"] > 1 or not one[3].startswith('{"fact":"step_')]
    return sent | {
        "records": [[_without_later(_without_remedy(field)) for field in record] for record in sent["records"]],
        "runs": runs,
    }


def _without_later(field: Any) -> Any:
    """A record's headers without those that are written since some histories were."""
    if not isinstance(field, list):
        return field
    later = (handlers.HEADER, causation.STEP, causation.EVENT)
    return [one for one in field if not (isinstance(one, list) and one and one[0] in later)]


def _without_start(field: Any) -> Any:
    if isinstance(field, str) and field.startswith('{"fact":"step_waiting"'):
        return re.sub(r',"data":.*\}$', "}", field)  # told since some histories were written
    is_step = isinstance(field, str) and field.startswith('{"fact":"step_finished"')
    return re.sub(r'"started_at":"[^"]*"', '"started_at":""', field) if is_step else field


def _without_details(field: Any) -> Any:
    """A fact without what is told of it since some histories were written: optional fields, at its end."""
    if not isinstance(field, str) or not field.startswith('{"fact":"step_'):
        return field
    if field.startswith('{"fact":"step_retried"'):
        return re.sub(r',"kind":"run","what":"(?:[^"\\]|\\.)*","asked_at":"[^"]*"\}$', "}", field)
    field = re.sub(r',"children":\[[^\]]*\],"children_count":[0-9]+\}$', "}", field)
    return re.sub(r',"events":\[[^\]]*\]\}$', "}", field)


def _without_remedy(field: Any) -> Any:
    if not isinstance(field, str) or not field.startswith('{"code":'):
        return field
    return re.sub(r'"remedy":"(?:[^"\\]|\\.)*"', '"remedy":""', field, count=1)


def undelivered(sent: list[Any], delivered: int) -> list[Any]:
    """What rounds after `delivered` sent out; a round that sent nothing needs no delivery."""
    return [one for number, one in enumerate(sent, start=1) if number > delivered and any(one.values())]


def test_each_scenario_has_its_file_and_each_file_its_scenario() -> None:
    assert sorted(scenarios.ALL) == histories.names()


def test_no_history_was_edited_or_removed_since_it_was_recorded() -> None:
    recorded = histories.sums()
    here = {name: histories.sum_of(name) for name in histories.names()}
    new = sorted(here.keys() - recorded.keys())
    assert new == [], f"{new} have no sum yet: `python -m tests.replay.history` adds it to {histories.SUMS.name}"
    changed = sorted(name for name in recorded if here.get(name) != recorded[name])
    assert changed == [], (
        f"{changed} are not as they were recorded, and journals like them are out there: take the files back "
        "(`git checkout main -- tests/replay/histories`), and record what is new as a history of another name"
    )


UNRECORDED = {"pack"}
"""Ids of thousands of events, or of hundreds of rounds: too many for a history that people can read."""


def test_every_kind_of_entity_is_in_some_history() -> None:
    kinds = {name.removesuffix("_key") for name in vars(journal) if name.endswith("_key")}
    commits = [step["commit"] for name in NAMES for step in histories.load(name)["steps"] if "commit" in step]
    written = {
        key.partition(":")[0] for one in commits for key, value in one["journal"] if value is not None and ":" in key
    }

    assert written == kinds - UNRECORDED


@pytest.mark.parametrize("name", histories.names())
def test_a_history_says_which_format_it_is_of(name: str) -> None:
    assert name.startswith(f"{histories.load(name)['format']}-")
    assert histories.load(name)["format"] <= journal.FORMAT


@pytest.mark.parametrize("number", range(1, journal.FORMAT + 1))
def test_each_format_has_histories(number: int) -> None:
    assert any(name.startswith(f"{number}-") for name in histories.names())
