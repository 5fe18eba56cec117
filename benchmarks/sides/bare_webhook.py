"""aiohttp's server and aiokafka alone, for webhooks of GitHub: what a handler of twenty lines can do.

The same work for each delivery as the gateway does: the signature over the raw body, the body as JSON, an event with
the delivery's id at its home partition, idempotently, with acks=all; 202 once the broker has it. aiokafka makes batches
of what is handed to it at a time; uvloop.
"""

import argparse
import asyncio
import hmac

import orjson
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

from benchmarks.sides import side
from topics import keys


async def run(given: argparse.Namespace) -> None:
    """Serve until the process is stopped."""
    producer = AIOKafkaProducer(
        bootstrap_servers=given.bootstrap, acks="all", enable_idempotence=True, linger_ms=0, max_batch_size=900 * 1024
    )
    await producer.start()
    secret = given.secret.encode()

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        wanted = "sha256=" + hmac.digest(secret, body, "sha256").hex()
        if not hmac.compare_digest(wanted.encode(), request.headers.get("X-Hub-Signature-256", "").encode()):
            return web.Response(status=401)
        event_id = request.headers["X-GitHub-Delivery"]
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.raw_headers}
        data = {"body": orjson.loads(body), "headers": headers}
        value = orjson.dumps({"topic": "hook/push", "id": event_id, "data": data})
        home = keys.partition_of(event_id.encode(), given.partitions)
        await producer.send_and_wait(given.topic, value, partition=home)
        return web.Response(status=202, body=orjson.dumps({"event_id": event_id}), content_type="application/json")

    app = web.Application()
    app.router.add_post(given.path, receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", given.port).start()
    side.tune()
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--secret", required=True)
    uvloop.run(run(parser.parse_args()))
