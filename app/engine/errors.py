"""What the engine refuses. Any of them ends the process before anything is acknowledged."""


class EngineError(Exception):
    """The state and its input contradict each other."""


class CommandGap(EngineError):
    """A command is missing between two of one source: something wrote to the topic that must not."""

    def __init__(self, *, source: int, expected: int, found: int) -> None:
        super().__init__(
            f"commands from partition {source} jump from sequence {expected - 1} to {found}: "
            f"{found - expected} are missing; nothing was processed. Only workers may write to the commands topic, "
            "and its retention must exceed the longest outage"
        )
        self.source, self.expected, self.found = source, expected, found


class WrongPartitionCount(EngineError):
    """Another partition count than the journal's."""

    def __init__(self, *, journal: int, found: int) -> None:
        super().__init__(
            f"the journal was written with {journal} partitions, the topics now have {found}: the partition count "
            "never changes under a running system. Set kafka.partitions back and restore the topics, or start a new "
            "installation with another kafka.prefix"
        )
        self.journal, self.found = journal, found
