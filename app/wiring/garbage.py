"""When Python's cyclic collector looks, and at what (docs/adr/0004). Called by roles that run for long.

It is the largest single cost of a full path and of a request, so it looks seldom, and not at what is there from the
start. What is alive only through cycles is then found late or never, which matters where it is large: a partition.
"""

import gc


def tune() -> None:
    """Let it look seldom, at little: called once, when everything that stays is there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def forget() -> None:
    """Free what was let go, also of what was there from the start: looks at everything, 0.1 s or more."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
