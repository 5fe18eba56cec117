"""Who gets which partition of `triggers`: each stays where it is unless its owner is gone or has too many.

Pure: called by the leader of the group at each rebalance (base.fleet.group). A move costs a source its connection,
and some services count those (Discord: 1,000 sessions a day), so a partition is left where it came less than `dwell`
seconds ago, and the group looks again when that time is over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

EVEN: Final = 1
"""Most by which two members may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What each member gets, and in how many seconds a fairer share is possible; None when it is fair."""

    of: Mapping[str, Sequence[int]]
    again_in_seconds: float | None


def share(partitions: int, members: Mapping[str, Mapping[int, float]], *, dwell_seconds: float) -> Shares:
    """Return the shares of members, who say which partitions they have and for how many seconds.

    Of two that say they have the same one, the later owner is right: the other was away and does not know it yet.
    """
    owned: dict[str, dict[int, float]] = {member: {} for member in sorted(members)}
    for partition in range(partitions):
        claims = [(has[partition], member) for member, has in sorted(members.items()) if partition in has]
        if claims:
            age, owner = min(claims)
            owned[owner][partition] = age
        else:
            _least(owned)[partition] = 0.0
    again: float | None = None
    while True:
        least = _least(owned)
        rich = [(member, has) for member, has in owned.items() if len(has) - len(least) > EVEN]
        if not rich:
            break
        age, partition, member = max((age, partition, member) for member, has in rich for partition, age in has.items())
        if age < dwell_seconds:
            again = dwell_seconds - age
            break
        del owned[member][partition]
        least[partition] = 0.0
    return Shares(of={member: sorted(has) for member, has in owned.items()}, again_in_seconds=again)


def _least(owned: Mapping[str, dict[int, float]]) -> dict[int, float]:
    return min(owned.values(), key=len)
