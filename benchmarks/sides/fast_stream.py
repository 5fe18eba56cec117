"""FastStream: a subscriber per event whose result a publisher sends; dedup in memory, since FastStream has no state.

Fast settings: the aiokafka broker, fast-depends and pydantic off (raw bytes with orjson, `apply_types=False`), no log
per message, uvloop. Variants, chosen by `--variant`: `event` (default), `concurrent` (`max_workers`, unordered),
`batch` (`batch=True`, one handler call per event, results by `publish_batch`), each for `kafka` or `confluent`.
"""

import logging
from typing import Any

import uvloop
from faststream import FastStream  # type: ignore[import-not-found]

from benchmarks.sides import side

WORKERS = 50
BATCH = 500


def build(given: side.Arguments) -> FastStream:
    """Return the application."""
    form, _, client = (given.variant or "event-kafka").partition("-")
    broker: Any
    options: dict[str, Any] = {"group_id": given.group, "auto_offset_reset": "earliest"}
    if client == "confluent":
        from faststream.confluent import KafkaBroker as ConfluentBroker  # type: ignore[import-not-found]

        options |= {"polling_interval": 0.1}
        broker = ConfluentBroker(given.bootstrap, acks="all", apply_types=False, logger=None)
    else:
        from faststream.kafka import KafkaBroker  # type: ignore[import-not-found]

        options |= {"max_partition_fetch_bytes": 4 * 1024 * 1024}
        broker = KafkaBroker(given.bootstrap, acks="all", max_batch_size=900 * 1024, apply_types=False, logger=None)
    seen: set[str] = set()

    def answer(event: dict[str, Any]) -> bytes | None:
        if event["id"] in seen:
            return None
        seen.add(event["id"])
        return side.result(event, side.handle(event), topic=given.input, partition=-1, offset=-1)

    if form == "batch":

        @broker.subscriber(given.input, batch=True, max_records=BATCH, decoder=raw, **options)  # type: ignore[untyped-decorator]
        async def bench_created_batch(bodies: list[bytes]) -> None:
            answers = [answer(side.decode(body)) for body in bodies]
            await broker.publish_batch(*[one for one in answers if one is not None], topic=given.results)

        return FastStream(broker, logger=None)

    if form == "concurrent":
        options["max_workers"] = WORKERS

    @broker.publisher(given.results)  # type: ignore[untyped-decorator]
    @broker.subscriber(given.input, decoder=raw, **options)  # type: ignore[untyped-decorator]
    async def bench_created(body: bytes) -> bytes | None:
        return answer(side.decode(body))

    return FastStream(broker, logger=None)


async def raw(message: Any) -> Any:
    """Leave the decoding to the handler, as every other side does."""
    return message.body


async def main() -> None:
    """Run until the process is stopped."""
    app = build(side.arguments())
    side.tune()
    logging.disable(logging.INFO)
    await app.run()


if __name__ == "__main__":
    uvloop.run(main())
