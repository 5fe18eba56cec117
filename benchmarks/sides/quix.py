"""Quix Streams: stateful dedup (RocksDB with a changelog topic) and exactly-once.

Fast settings: raw bytes with orjson, 4 MiB fetches, no CRC check, producer linger, and checkpoints as rarely as their
results may wait (they are visible when a checkpoint's transaction commits): 1 s or 50,000 events for throughput, 50 ms
for latency.
"""

from typing import Any

import orjson
from quixstreams import Application, State, message_context  # type: ignore[import-not-found]

from benchmarks.sides import side


def main() -> None:
    """Build the dataframe and run it until the process is stopped."""
    given = side.arguments()
    throughput = given.profile is side.Profile.THROUGHPUT
    app = Application(
        broker_address=given.bootstrap,
        consumer_group=given.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=1.0 if throughput else 0.05,
        commit_every=50_000,
        consumer_poll_timeout=1.0 if throughput else 0.02,
        loglevel="WARNING",
        auto_create_topics=True,
        state_dir="quix-state",
        consumer_extra_config={"fetch.message.max.bytes": 4 * 1024 * 1024, "check.crcs": False},
        producer_extra_config={"linger.ms": 20 if throughput else 0, "acks": "all"},
    )
    source = app.topic(given.input, key_deserializer="bytes", value_deserializer="bytes")
    results = app.topic(given.results, key_serializer="bytes", value_serializer="bytes")

    def unseen(event: dict[str, Any], state: State) -> bool:
        if state.exists(event["id"]):
            return False
        state.set(event["id"], 1)
        return True

    def run(event: dict[str, Any]) -> bytes:
        context = message_context()
        return side.result(
            event, side.handle(event), topic=context.topic, partition=context.partition, offset=context.offset
        )

    frame = app.dataframe(source)
    frame = frame.apply(orjson.loads).filter(unseen, stateful=True).apply(run)
    frame.to_topic(results)
    side.tune()
    app.run()


if __name__ == "__main__":
    main()
