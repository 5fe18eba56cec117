"""What came of the events of sources: each starts a run of `gathered`, whose results are counted."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import orjson

from tests.e2e.service import Service
from tests.e2e.tally import Reader
from tests.e2e.waiting import until

FLOW: Final = Path(__file__).parent / "gathering.py"


class Gathered:
    """Reads results again and again; `numbers` are those of each source, with how often each came."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._reader = Reader(service, "results", service.partitions)
        self.numbers: dict[str, Counter[Any]] = {}

    def read_on(self) -> dict[str, Counter[Any]]:
        """Read what came since the last time; return all numbers."""
        for message in self._reader.read_on():
            result = orjson.loads(message.value())["result"]
            self.numbers.setdefault(result["source"], Counter())[result["n"]] += 1
        return self.numbers

    def has(self, source: str, wanted: Iterable[Any], seconds: float) -> None:
        """Return once every wanted number of a source has a result. Raises Expired with what is missing."""
        whole = set(wanted)

        def missing() -> set[Any]:
            self.read_on()
            return whole - self.numbers.get(source, Counter()).keys()

        until(
            lambda: not missing(),
            seconds,
            f"{len(whole)} events of {source} have results",
            else_show=lambda: f"missing {len(missing())}: {sorted(missing())[:10]}\n{self._service.tails()}",
        )

    def doubled(self, source: str) -> dict[Any, int]:
        """Return the numbers that have more than one result."""
        self.read_on()
        return {number: count for number, count in self.numbers.get(source, Counter()).items() if count > 1}
