"""Run workflows."""

import click

from app.cli import options


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@options.kafka
@options.setting(
    "--instance-id", "worker.instance_id", "This worker's name in the group (default: the host's).", metavar="ID"
)
@options.setting("--metrics-port", "worker.metrics_port", "Port of metrics and health (default 9100).", metavar="PORT")
@options.setting("--data", "worker.data", "Folder for snapshots that shorten a restart (default: none).", metavar="DIR")
@click.option("--reload", is_flag=True, help="Load workflows anew when their files change.")
def command(paths: tuple[str, ...], *, reload: bool) -> None:
    """Run the workflows in PATH...: Python files, folders or modules.

    Workers with different instance ids share the partitions; start as many as you have cores, at most one for each
    partition. On SIGTERM and Ctrl-C, runs in flight get worker.drain_timeout_seconds to end.

    \b
    Example:
      headgate worker workflows.py --kafka kafka-0:9092 --instance-id worker-0
    """
    import asyncio
    import logging
    import os
    import signal
    import sys
    from functools import partial

    import uvloop

    from app.cli import cluster, leaving, main
    from app.kafka import uvloop_errors
    from app.observe import logs
    from app.runtime import loader
    from app.wiring import worker

    settings = options.settings()
    logs.configure(level=settings.log.level, form=settings.log.format, secrets=settings.secrets())
    # A worker looks at the topics with it and nothing else; where that fails, the error says so in words.
    logging.getLogger("librdkafka").setLevel(logging.CRITICAL)

    async def work() -> None:
        loaded = loader.load(paths)  # first: what is wrong with them needs no Kafka to be told
        settings = cluster.settings_of_worker()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        ready = partial(click.echo, err=True)
        await worker.run(settings, paths, stop=stop, ready=ready, reload=reload, loaded=loaded)

    uvloop_errors.translate()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(work())
    except BaseException as error:  # noqa: BLE001 the outermost place: it ends the process, whatever it is
        # Nothing may be acknowledged, sent or waited for any more: no clean-up, no other thread.
        code = main.tell(error)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    loop.close()
    leaving.leave()
