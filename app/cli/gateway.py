"""Take events over HTTP, and show workflows, runs and dead letters."""

import click

from app.cli import options


@click.command()
@options.kafka
@options.setting("--host", "gateway.host", "Address to listen on (default 127.0.0.1).", metavar="ADDRESS")
@options.setting("--port", "gateway.port", "Port to listen on (default 8080; 0 takes any free one).", metavar="PORT")
@options.setting(
    "--read-model", "gateway.read_model", "File of the read model (default: a temporary one).", metavar="FILE"
)
def command() -> None:
    """Take events over HTTP, and show workflows, runs and dead letters.

    Requests show the token of the setting gateway.token; without one the gateway does not start. Kafka may come
    later: until then events are answered with 503. Ctrl-C and SIGTERM let requests in flight finish.

    \b
    Example:
      HEADGATE_GATEWAY_TOKEN=$(openssl rand -hex 32) headgate gateway --kafka kafka-0:9092 --host 0.0.0.0
      curl -H "Authorization: Bearer $HEADGATE_GATEWAY_TOKEN" -H 'Content-Type: application/json' \\
           -d '{"name": "order.created", "payload": {"id": 1}}' http://127.0.0.1:8080/api/v1/events
    """
    import asyncio
    import signal

    import uvloop

    from app.kafka import uvloop_errors
    from app.observe import logs
    from app.settings import require_gateway_token
    from app.wiring import garbage, gateway

    settings = options.settings()
    require_gateway_token(settings)
    logs.configure(level=settings.log.level, form=settings.log.format, secrets=settings.secrets())

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        garbage.tune()
        await gateway.run(
            settings, stop=stop, listening=lambda address: click.echo(f"headgate gateway: {address}", err=True)
        )

    uvloop_errors.translate()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
