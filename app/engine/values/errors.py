"""What the engine refuses: any EngineError ends the process. And authors' errors as text."""


def words(error: BaseException) -> str:
    """Return the text of an author's error as every record can hold it: some have none, or one that is no Unicode."""
    try:
        return str(error).encode(errors="replace").decode()
    except Exception as why:  # noqa: BLE001 whatever an author's __str__ does
        return f"(its text cannot be had: {type(why).__name__})"


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
