"""What the functions of `durable.py` have noted: which steps ran, and whether one ran again after it was journaled."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Step = tuple[str, str]
"""A run and the key of a step or wait."""


@dataclass(kw_only=True)
class Account:
    """What a diary says."""

    steps: int = 0
    """Steps of which a workflow has seen the result."""
    waits: int = 0
    """Waits of which a workflow has seen the end."""
    executions: int = 0
    again_before: int = 0
    """Executions of a step that had run before and was not journaled as ended: a retry, or a crash came between."""
    again_by_lost: int = 0
    """Executions by an owner that was frozen, lost its partition meanwhile, and did not know: nobody can prevent it."""
    again_after: list[Step] = field(default_factory=list)
    """Executions of a step after it was journaled."""
    changed: set[Step] = field(default_factory=set)
    """Steps and waits that came to one thing once, and to another later."""

    @property
    def right(self) -> bool:
        return not (self.again_after or self.changed)


def read(diary: Path, journaled: Mapping[Step, int]) -> Account:
    """Read a diary; `journaled` has the end of each step, in milliseconds as the facts of its run say.

    The lines are in the order in which they were written, by all processes of this machine.
    """
    account = Account()
    lines = [line.split("\t") for line in diary.read_text().splitlines()]
    lost = _lost(lines)
    lives: Counter[str] = Counter()
    ran: set[Step] = set()
    seen: dict[Step, str] = {}
    for what, process, run, step, *more in lines:
        one = (run, step)
        if what in ("began", "lost"):
            lives[process] += what == "began"
        elif what == "ran":
            account.executions += 1
            if int(more[1]) > journaled.get(one, int(more[1])):
                if (process, lives[process]) in lost:
                    account.again_by_lost += 1
                else:
                    account.again_after.append(one)
            elif one in ran:
                account.again_before += 1
            ran.add(one)
        elif one not in seen:
            seen[one] = more[0]
            account.steps += what == "got"
            account.waits += what == "met"
        elif seen[one] != more[0]:
            account.changed.add(one)
    return account


def _lost(lines: Sequence[Sequence[str]]) -> set[tuple[str, int]]:
    """Return the processes of which it is noted at any time of their lives that they may have lost their partitions."""
    lives: Counter[str] = Counter()
    lost: set[tuple[str, int]] = set()
    for what, process, *_ in lines:
        if what == "began":
            lives[process] += 1
        elif what == "lost":
            lost.add((process, lives[process]))
    return lost


def note_lost(diary: Path, process: int) -> None:
    """Note that a process was stopped for a while, or says that there is a newer owner: it may not have known."""
    with diary.open("a") as out:
        out.write(f"lost\t{process}\t\t\n")
