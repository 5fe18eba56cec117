"""Stock Faust: an agent, a Table for dedup, `send` per event.

Fast settings (all measured to help): uvloop, raw bytes with orjson, producer linger for throughput, memory store,
no web server, no leader topic, log level INFO (lower ones make Faust's own spinner build every debug record).
"""

import sys

import faust
import mode.loop

from benchmarks.sides import side

mode.loop.use("uvloop")

given = side.arguments()
app = faust.App(
    given.group,
    broker=f"kafka://{given.bootstrap}",
    store="memory://",
    datadir="faust-data",
    key_serializer="raw",
    value_serializer="raw",
    topic_partitions=given.partitions,
    topic_replication_factor=1,
    topic_disable_leader=True,
    web_enabled=False,
    consumer_auto_offset_reset="earliest",
    consumer_max_fetch_size=4 * 1024 * 1024,
    broker_max_poll_records=None,
    producer_acks=-1,
    producer_linger=0.02 if given.profile is side.Profile.THROUGHPUT else 0.0,
    producer_max_batch_size=512 * 1024,
    table_standby_replicas=0,
)
source = app.topic(given.input, key_type=bytes, value_type=bytes)
results = app.topic(given.results, key_type=bytes, value_type=bytes)
seen = app.Table("seen", partitions=given.partitions)


@app.agent(source)
async def bench_created(stream: faust.StreamT[bytes]) -> None:
    """Decode, look into the Table, handle, send."""
    async for faust_event in stream.events():
        event = side.decode(faust_event.value)
        if event["id"] in seen:
            continue
        seen[event["id"]] = 1
        message = faust_event.message
        value = side.result(
            event, side.handle(event), topic=given.input, partition=message.partition, offset=message.offset
        )
        await results.send(key=message.key, value=value)


if __name__ == "__main__":
    side.tune()
    faust.Worker(app, loglevel="INFO", quiet=True, redirect_stdouts=False).execute_from_commandline()
    sys.exit(1)
