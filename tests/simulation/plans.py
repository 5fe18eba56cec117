"""What workflows with durable steps ask for: random, and drawn as values."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

SIGNALS: Final = ("signals/a", "signals/b", "signals/a/x", "alarms")
"""Topics of which events are waited for."""
CHAIN: Final = "chain/hop"
"""The topic of what runs publish."""
LAST_OWN: Final = "own"
"""Said of when a wait begins: the last event that started its run."""
ALWAYS: Final = 1_000_000
"""Failures of a step's function that never succeeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class On:
    """An event that is waited for. `judge`: what its filter does: "" there is none, "half" takes some, "raises"."""

    topic: str
    key: str | None = None
    type: str | None = None
    judge: str = ""
    since: str | int = "run_start"
    """Besides "run_start" and "now" an event: `LAST_OWN`, or the key of an earlier step, which may have received one.
    An int is a time, in milliseconds after the beginning.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One step."""

    kind: str
    key: str
    seconds: float = 0.0
    """How long it sleeps, or its function takes."""
    timeout: float | None = None
    on: tuple[On, ...] = ()
    after: float | None = None
    """A time among the conditions, the last of them."""
    failures: int = 0
    """Calls of its function that fail before one succeeds."""
    retries: int = 0
    rejects: bool = False
    plain: bool = False
    event_key: str | None = None
    """Of what it publishes."""
    children: tuple[str, ...] = ()
    """The workflows that it starts."""
    of: str | None = None
    """A step that started a run, which this one resumes; None: it resumes its own run."""
    target: str = ""
    """The suspended step that it resumes."""

    @property
    def waits(self) -> bool:
        return self.kind in ("event", "any", "all", "suspend")

    @property
    def calls(self) -> bool:
        """Whether it waits for the runs that it starts."""
        return self.kind in ("call", "calls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a function does: groups one after the other, the steps of a group side by side."""

    groups: tuple[tuple[Op, ...], ...]
    fails_after: int
    """After this group the function fails, in those attempts that fail."""
    ops: Mapping[str, Op] = field(default_factory=dict)


# --- drawn ----------------------------------------------------------------------------------------------------------

_KINDS: Final = (
    *("run",) * 5,
    *("event",) * 5,
    *("sleep", "until", "any", "any", "all", "suspend", "suspend"),
    *("publish", "publish", "now", "uuid", "random"),
)


_WIDE: Final = (*("invoke", "call", "calls", "calls", "starts"), *("send", "resume", "suspend"))
"""The kinds that a workflow has besides, if there are others that it starts."""


def draw_plan(random: Random, *, dated: bool, children: Mapping[str, Sequence[str]] | None = None) -> Plan:
    """Return a random plan. `dated`: every wait has an end. `children`: workflows that it starts, each with the keys
    of its suspended steps.
    """
    groups: list[tuple[Op, ...]] = []
    number = 0
    for _ in range(random.choice((1, 2, 2, 3, 4))):
        size = random.choice((1, 1, 1, 1, 2, 3))
        groups.append(tuple(_op(random, f"s{number + at}", dated=dated, children=children) for at in range(size)))
        number += size
    if children is not None:
        if not dated and random.random() < 0.7:  # many wait in the end, to be cancelled or to be left alone
            kind = random.choice(("suspend", "event"))
            on = (On(topic="alarms", key=random.choice((None, "k0"))),) if kind == "event" else ()
            groups.append((Op(kind=kind, key=f"s{number}", on=on),))
        groups = _aimed(random, groups, children)
    return Plan(
        groups=tuple(groups),
        fails_after=random.randrange(len(groups)),
        ops={op.key: op for group in groups for op in group},
    )


def nested(random: Random, plan: Plan) -> Plan:
    """Return the plan with a wait for all of two conditions before it, of which one takes what the other does.

    It is of topics on which nothing comes but answers, so that each event counts.
    """
    on = [On(topic="bells/*"), On(topic="bells/a", judge=random.choice(("", "half")))]
    random.shuffle(on)
    first = Op(kind="all", key="n0", timeout=random.choice((0.3, 0.8, 2.0)), on=tuple(on))
    groups = ((first,), *plan.groups)
    return Plan(
        groups=groups,
        fails_after=plan.fails_after + 1,
        ops={op.key: op for group in groups for op in group},
    )


def looking_back(random: Random, plan: Plan) -> Plan:
    """Return the plan with waits that see events since a time or since an event of their run, some of them."""
    groups: list[tuple[Op, ...]] = []
    received: list[str] = []
    for group in plan.groups:
        groups.append(tuple(replace(op, on=tuple(_since(random, one, received) for one in op.on)) for op in group))
        received += [op.key for op in group if op.on]
    return replace(plan, groups=tuple(groups), ops={op.key: op for group in groups for op in group})


def _since(random: Random, one: On, received: Sequence[str]) -> On:
    kind = random.choice(("as it is", "as it is", "time", "own", "received", "received"))
    if kind == "time":  # before all that happens; before the run, in it, or after it has asked; or very late
        times = (-60_000, random.randrange(500), random.randrange(3_000), random.randrange(2_000, 6_000))
        return replace(one, since=random.choice(times))
    if kind == "own":
        return replace(one, since=LAST_OWN)
    return replace(one, since=random.choice(received)) if kind == "received" and received else one


def _aimed(random: Random, groups: list[tuple[Op, ...]], children: Mapping[str, Sequence[str]]) -> list[tuple[Op, ...]]:
    """Give each step that resumes another one something to resume: of its own run, or of one that was started."""
    own = [op.key for group in groups for op in group if op.kind == "suspend"]
    made: list[tuple[Op, ...]] = []
    started: list[tuple[str, str]] = []
    for group in groups:
        aims = [*[(None, key) for key in own], *started] or [(None, "nothing")]
        aimed = []
        for op in group:
            of, target = random.choice(aims) if op.kind == "resume" else (None, "")
            aimed.append(replace(op, of=of, target=target))
        made.append(tuple(aimed))
        started += [(op.key, key) for op in group if op.kind == "invoke" for key in children.get(op.children[0], ())]
    return made


def _op(random: Random, key: str, *, dated: bool, children: Mapping[str, Sequence[str]] | None) -> Op:
    kind = random.choice(_KINDS if children is None else (*_KINDS, *_WIDE, *_WIDE))
    if kind in ("send", "resume"):
        return Op(kind=kind, key=key)
    if children is not None and kind in ("invoke", "call", "calls", "starts"):
        several = random.choice((1, 2, 3, 4)) if kind in ("calls", "starts") else 1
        return Op(kind=kind, key=key, children=tuple([random.choice(list(children)) for _ in range(several)]))
    seconds = random.choice((0.0, 0.0, 0.02, 0.3)) if kind == "run" else random.choice((0.0, 0.05, 0.4, 1.5))
    ends = 0.6 if children is None else 0.35
    timeout = random.choice((0.05, 0.3, 0.8, 2.0, 6.0)) if dated or random.random() < ends else None
    if kind == "run":
        return Op(
            kind=kind,
            key=key,
            seconds=seconds,
            failures=random.choice((0, 0, 0, 1, 2, ALWAYS)),
            retries=random.choice((0, 1, 2)),
            rejects=random.random() < 0.1,
            plain=random.random() < 0.3,
        )
    if kind in ("sleep", "until"):
        return Op(kind=kind, key=key, seconds=seconds)
    if kind == "event":
        return Op(kind=kind, key=key, timeout=timeout, on=(_on(random),))
    if kind in ("any", "all"):
        on = tuple(_on(random) for _ in range(random.choice((1, 1, 2))))
        return Op(kind=kind, key=key, timeout=timeout, on=on, after=random.choice((None, 0.1, 0.7)))
    if kind == "suspend":
        return Op(kind=kind, key=key, timeout=timeout)
    return Op(kind=kind, key=key, event_key=random.choice((None, "k0", f"c{random.randrange(3)}")))


def _on(random: Random) -> On:
    return On(
        topic=random.choice(("signals/a", "signals/b", "signals/*", "signals/**", "alarms")),
        key=random.choice((None, None, None, "k0", "k1")),
        type=random.choice((None, None, None, "t")),
        judge=random.choice(("", "", "", "half", "half", "raises")),
        since=random.choice(("run_start", "run_start", "run_start", "now")),
    )


def judged(one: On, data: Any) -> str:
    """Say what the filter does with an event: "yes", "no" or "raises"."""
    if not one.judge:
        return "yes"
    weight = zlib.crc32(f"judged {data!r}".encode())
    if one.judge == "raises" and weight % 3 == 0:
        return "raises"
    return "yes" if weight % 2 else "no"
