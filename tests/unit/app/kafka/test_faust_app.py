"""What the application says of itself. It runs in tests/integration/test_faust_app.py."""

import logging
from typing import Any, cast

from app.kafka import faust_app
from app.kafka.chunks import ChunkConsumer
from app.settings import Settings


async def test_services_do_not_log_that_they_start() -> None:
    ChunkConsumer.logger.setLevel(logging.NOTSET)
    faust_app.build(Settings.load({}, dev=True, environ={}), cast(Any, None), cast(Any, None), lambda _error: None)
    assert not ChunkConsumer.logger.isEnabledFor(logging.ERROR)
