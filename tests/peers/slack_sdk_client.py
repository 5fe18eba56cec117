"""Slack's own Python client, in its own environment: tells on stdout what it gets, ends with its stdin.

    python slack_sdk_client.py builtin|aiohttp <api_url> <app_token>

It acknowledges everything but the first delivery of a message whose text is "ignore".
"""

import asyncio
import json
import sys
from typing import Any


def tell(**fields: Any) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")  # in one go: several threads tell
    sys.stdout.flush()


def wanted(request: Any) -> bool:
    """Tell of a delivery; return whether to acknowledge it."""
    tell(
        type=request.type,
        envelope_id=request.envelope_id,
        payload=request.payload,
        attempt=request.retry_attempt,
        reason=request.retry_reason,
    )
    return (request.payload.get("event") or {}).get("text") != "ignore" or bool(request.retry_attempt)


def builtin(api_url: str, app_token: str) -> None:
    from slack_sdk import WebClient  # type: ignore[import-not-found]
    from slack_sdk.errors import SlackApiError  # type: ignore[import-not-found]
    from slack_sdk.socket_mode.builtin.client import SocketModeClient  # type: ignore[import-not-found]
    from slack_sdk.socket_mode.response import SocketModeResponse  # type: ignore[import-not-found]

    def answer(client: Any, request: Any) -> None:
        if wanted(request):
            client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))

    client = SocketModeClient(app_token=app_token, web_client=WebClient(base_url=api_url), ping_interval=1)
    client.message_listeners.append(_hello)
    client.socket_mode_request_listeners.append(answer)
    try:
        client.connect()
    except SlackApiError as error:
        tell(refused=error.response["error"])
    sys.stdin.read()
    client.close()


async def with_aiohttp(api_url: str, app_token: str) -> None:
    from slack_sdk.errors import SlackApiError
    from slack_sdk.socket_mode.aiohttp import SocketModeClient  # type: ignore[import-not-found]
    from slack_sdk.socket_mode.response import SocketModeResponse
    from slack_sdk.web.async_client import AsyncWebClient  # type: ignore[import-not-found]

    async def answer(client: Any, request: Any) -> None:
        if wanted(request):
            await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))

    async def hello(client: Any, message: dict[str, Any], raw: Any) -> None:
        _hello(client, message, raw)

    client = SocketModeClient(app_token=app_token, web_client=AsyncWebClient(base_url=api_url), ping_interval=1)
    client.message_listeners.append(hello)
    client.socket_mode_request_listeners.append(answer)
    try:
        client.wss_uri = await client.issue_new_wss_url()
    except SlackApiError as error:
        tell(refused=error.response["error"])
    else:
        await client.connect()
    await asyncio.to_thread(sys.stdin.read)
    await client.close()


def _hello(_client: Any, message: dict[str, Any], _raw: Any) -> None:
    if message.get("type") == "hello":
        tell(hello=message["num_connections"])


if __name__ == "__main__":
    flavour, where, token = sys.argv[1:]
    if flavour == "builtin":
        builtin(where, token)
    else:
        asyncio.run(with_aiohttp(where, token))
