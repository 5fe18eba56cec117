"""Kind `websocket` as the frame finds it."""

from connectors import websocket
from connectors.base.contract import Sends
from tests.unit.connectors.standing import StandIn


def test_a_source_is_made_of_the_example_and_can_send() -> None:
    source = websocket.Source(websocket.Config.model_validate(websocket.EXAMPLE), StandIn())
    assert isinstance(source, Sends)
