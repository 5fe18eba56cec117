"""Open steps of runs at rest come back as they were, and what stands in one twice is stored once."""

import random
from dataclasses import replace
from typing import Any

import orjson
import pytest

from app.engine.tables import restingsteps
from app.engine.tables.awaited import Condition, Progress
from app.engine.tables.recorded import Step, Steps
from app.engine.tables.texts import Pieces, Texts
from app.engine.values.asks import (
    KINDS,
    Ask,
    Await,
    Child,
    EventCondition,
    Execute,
    Fault,
    Invoke,
    Sleep,
    Suspend,
)
from tests.unit.app.engine.partition import NOW, event
from topics import commands, keys
from topics.reserved import resume_topic

DIGEST = bytes(range(12))
RUN = keys.run_id("charge", DIGEST)
DAY = 86_400_000


def step_of(ask: Ask, *, key: str = "then", about: str = "", **more: Any) -> Step:
    steps = Steps(RUN)
    steps.places.extend(range(9))
    made = Step(steps, key, KINDS[type(ask)], about, ask, NOW + 3, par=more.pop("par", False))
    made.n, made.journaled = 4, True
    for name, value in more.items():
        setattr(made, name, value)
    return made


def written(step: Step, texts: Texts) -> bytes:
    return orjson.dumps(restingsteps.written(step, NOW, Pieces(texts, DIGEST)))


def again(step: Step, texts: Texts) -> Step:
    return restingsteps.restored(step.steps, orjson.loads(written(step, texts)), NOW, Pieces(texts, DIGEST))


def all_of(step: Step) -> dict[str, Any]:
    return {name: getattr(step, name) for name in step.__slots__}


def chosen(chance: random.Random) -> Step:
    """Any step that may be open."""
    texts = ("", "k", "k-1", "orders/o-1/paid", "orders/paid", "charge", "a/b/", "/", "é" * 300, DIGEST.hex(), RUN)
    text = chance.choice
    times = (NOW, NOW - 5, NOW + DAY, 0, 1)
    key, about = text(texts), "".join(chance.choices(texts, k=chance.randrange(5)))
    plain = chance.random() < 0.6
    more: dict[str, Any] = {"key": key, "about": about}
    if chance.random() < 0.2:
        more["due_ms"] = text(times)
    if not plain:
        more |= {"par": chance.random() < 0.3, "attempts": chance.choice((0, 0, 2))}
    ask: Ask
    match chance.randrange(6):
        case 0:
            ask = Sleep(until_ms=text(times))
        case 1:
            data = text((b"null", b'{"who":"me"}', b"[1,2.5]", b'"x"', b"{ }", b"12345678901234567890123456"))
            data = data if more.get("par") in (None, False) and not more.get("attempts") else b"null"
            topic = text((None, resume_topic(RUN, key), "headgate/resume/x/ok"))
            ask = Suspend(data=data, deadline_ms=text((None, *times)), topic=topic)
        case 2:
            ask = Invoke(
                children=tuple([Child(workflow_id=text(texts), payload=b"") for _ in range(chance.randint(1, 3))]),
                wait=True,
            )
            more["children"] = [None if plain else text((None, b'{"a":1}')) for _ in ask.children]
        case 3:
            ask = Execute(max_retries=3, base_delay_ms=1, max_delay_ms=9)
            more["error"] = Fault("ValueError", "no luck")
        case _:
            count = chance.randint(1, 4)
            conditions: list[EventCondition | Sleep] = []
            progress = []
            for _ in range(count):
                seen = ["ab" * 12] if chance.random() < 0.2 else []
                if chance.random() < 0.3:
                    conditions.append(Sleep(until_ms=text(times)))
                    progress.append(Condition())
                    continue
                made = EventCondition(
                    topic=text(texts[2:]),
                    event_key=text((None, *texts)),
                    event_type=text((None, None, "paid", "k")),
                    since_ms=text((None, None, NOW)),
                    stream=chance.random() < 0.2,
                )
                conditions.append(made)
                progress.append(Condition(since_ms=text(times), seen=seen))
                if not plain and chance.random() < 0.5:
                    one = event(7, "orders/paid", key="k")
                    progress[-1].met, progress[-1].over = True, True
                    progress[-1].event = commands.raw_event(one)
                    progress[-1].digest, progress[-1].size = keys.digest_of(one).hex(), one.size
                elif not plain:
                    progress[-1].expired = progress[-1].over = True
            ask = Await(conditions=tuple(conditions), need=text((1, count)), deadline_ms=text((None, *times)))
            more["wait"] = Progress(progress)
    return step_of(ask, **more)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_open_comes_back_as_it_was(seed: int) -> None:
    chance, texts = random.Random(seed), Texts()
    for number in range(200):
        step = chosen(chance)
        pieces = Pieces(texts, DIGEST if number % 2 else bytes(12))
        encoded = orjson.dumps(restingsteps.written(step, NOW, pieces))
        known = Pieces(Texts(texts.texts), DIGEST if number % 2 else bytes(12))

        found = restingsteps.restored(step.steps, orjson.loads(encoded), NOW, known)

        assert all_of(found) == all_of(step)


TOPIC = "orders/o-00001/decided"
ABOUT = f"topic={TOPIC!r} event_key=None"
OWN = EventCondition(topic=TOPIC)
PROGRESS = Condition(since_ms=NOW)
FORMS: dict[str, tuple[Step, int]] = {
    "event": (
        step_of(
            Await(conditions=(OWN,), need=1, deadline_ms=NOW + DAY),
            about=f"wait_for_event {ABOUT}",
            wait=Progress([PROGRESS]),
        ),
        62,
    ),
    "any": (
        step_of(
            Await(conditions=(OWN, Sleep(until_ms=NOW + DAY)), need=1, deadline_ms=None),
            about=f"wait_for_any {ABOUT}, time",
            due_ms=NOW + DAY,
            wait=Progress([PROGRESS, Condition()]),
        ),
        62,
    ),
    "all": (
        step_of(
            Await(conditions=(OWN, EventCondition(topic="orders/o-00001/paid")), need=2, deadline_ms=None),
            about=f"wait_for_all {ABOUT}, topic='orders/o-00001/paid' event_key=None",
            wait=Progress([PROGRESS, PROGRESS]),
        ),
        80,
    ),
    "suspend": (
        step_of(Suspend(data=b'{"order":1}', deadline_ms=NOW + DAY, topic=resume_topic(RUN, "then")), about="suspend"),
        50,
    ),
    "sleep": (step_of(Sleep(until_ms=NOW + DAY), about="sleep", due_ms=NOW + DAY), 30),
    "children": (
        step_of(
            Invoke(
                children=(Child(workflow_id="charge", payload=b""), Child(workflow_id="charge", payload=b"")), wait=True
            ),
            about="batch_invoke_and_wait charge (2)",
            children=[None, None],
        ),
        26,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_of_many_that_wait_in_one_way_each_is_small(name: str) -> None:
    step, most = FORMS[name]
    texts = Texts()
    for other in ("o-00002", "o-00003"):  # by then all that they share is known
        restingsteps.written(_another(step, other), NOW, Pieces(texts, other.encode() + bytes(5)))

    assert len(written(step, texts)) <= most, written(step, texts)
    assert all_of(again(step, texts)) == all_of(step)


def _another(step: Step, order: str) -> Step:
    """The step of another run that waits in the same way."""
    ask = step.ask
    if isinstance(ask, Suspend):
        topic = resume_topic(keys.run_id("charge", order.encode() + bytes(5)), "then")
        ask = replace(ask, topic=topic)
    elif isinstance(ask, Await):
        conditions = [
            one if isinstance(one, Sleep) else replace(one, topic=one.topic.replace("o-00001", order))
            for one in ask.conditions
        ]
        ask = replace(ask, conditions=tuple(conditions))
    about = step.about.replace("o-00001", order)
    return step_of(ask, about=about, due_ms=step.due_ms, wait=step.wait, children=step.children)
