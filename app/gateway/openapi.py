"""The OpenAPI description. FastAPI describes its own routes; those of events and webhooks are described here."""

from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from app.gateway import schemas
from app.gateway.events import CLOUD_EVENT, CLOUD_EVENTS, PATH, PLAIN
from app.gateway.webhooks import ROUTE

_REFERENCE: Final = "#/components/schemas/{model}"
_EVENT_ERRORS: Final = {
    "400": "The body is not JSON, or the Idempotency-Key cannot be used.",
    "401": "No token, or a wrong one.",
    "413": "The body, the list or an event is too large.",
    "415": "Not JSON, or compressed.",
    "422": "JSON, but not an event; `details` names every wrong place. Nothing was taken.",
    "429": "Over gateway.rate_limit_per_second; Retry-After says when.",
    "503": "Kafka is away or the gateway is busy; Retry-After says when. The message says whether anything was taken.",
}
_WEBHOOK_ERRORS: Final = {
    "400": "Proven, but not what its content type says; or a handshake that is none.",
    "401": "No proof, a wrong one, or one that is too old.",
    "403": "A handshake with another token or from another origin.",
    "404": "No webhook has this address.",
    "405": "The source has no handshake with this method.",
    "413": "The body or the event is too large.",
    "415": "Compressed, or not one of the content types of the source.",
    "422": "Proven, but nothing that an event can hold.",
    "429": "Over a limit; Retry-After says when.",
    "503": "Kafka is away, or the source is paused or failed; Retry-After says when.",
}


def complete(api: FastAPI) -> None:
    """Let `api` answer with a description that has the routes of events and webhooks, and the token."""
    generate = api.openapi

    def described() -> dict[str, Any]:
        if api.openapi_schema is None:
            document = generate()
            _, definitions = models_json_schema(
                [
                    (model, "validation")
                    for model in (
                        schemas.Event,
                        schemas.NamedEvent,
                        schemas.Accepted,
                        schemas.AcceptedList,
                        schemas.Error,
                    )
                ],
                ref_template=_REFERENCE,
            )
            components = document.setdefault("components", {})
            components.setdefault("schemas", {}).update(definitions["$defs"])
            components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            called = {method: _webhook(method) for method in ("post", "get", "options")}
            document["paths"] = {PATH: {"post": _post_events()}} | document["paths"] | {ROUTE: called}
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    if path.startswith("/api/"):
                        operation["security"] = [{"token": []}]
                        operation["responses"].setdefault("401", _answer("No token, or a wrong one.", "Error"))
                    if "422" in operation["responses"]:
                        operation["responses"]["422"] = _answer("What does not fit.", "Error")
            for unused in ("HTTPValidationError", "ValidationError"):
                components["schemas"].pop(unused, None)
            api.openapi_schema = document
        return api.openapi_schema

    api.openapi = described  # type: ignore[method-assign]


def _post_events() -> dict[str, Any]:
    event = {"oneOf": [_ref("Event"), _ref("NamedEvent")]}
    cloud_event = {"type": "object", "description": "CloudEvents 1.0, structured."}
    return {
        "summary": "Post Events",
        "description": "One event or a list; taken as a whole or not at all, answered once Kafka has acknowledged.",
        "operationId": "post_events",
        "parameters": [
            _header("Idempotency-Key", "Equal keys give equal event ids (with a list: key and place)."),
            _header("traceparent", "W3C Trace Context, passed on with every event of the request."),
        ],
        "requestBody": {
            "required": True,
            "content": {
                PLAIN: {"schema": {"oneOf": [event, {"type": "array", "items": event, "minItems": 1}]}},
                CLOUD_EVENT: {"schema": cloud_event},
                CLOUD_EVENTS: {"schema": {"type": "array", "items": cloud_event, "minItems": 1}},
            },
        },
        "responses": {
            "202": {
                "description": "Acknowledged by all in-sync replicas.",
                "content": {PLAIN: {"schema": {"oneOf": [_ref("Accepted"), _ref("AcceptedList")]}}},
            }
        }
        | {status: _answer(text, "Error") for status, text in _EVENT_ERRORS.items()},
    }


def _webhook(method: str) -> dict[str, Any]:
    """Deliveries are posted; with the other methods some senders make sure of the address."""
    meaning = "Taken: answered once Kafka has acknowledged it, as its sender wants it answered."
    described: dict[str, Any] = {
        "summary": "Deliver" if method == "post" else "Verify Address",
        "description": "A delivery of the source `id`, whose provider is `provider`; what it must show, they say."
        if method == "post"
        else "The handshake of senders such as Meta (GET) and those of CloudEvents (OPTIONS).",
        "operationId": f"{method}_webhook",
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in ("provider", "id")
        ],
        "responses": {"2XX": {"description": meaning if method == "post" else "What the sender wants to hear."}}
        | {status: _answer(text, "Error") for status, text in _WEBHOOK_ERRORS.items()},
    }
    if method == "post":
        anything = {"description": "Whatever the provider sends.", "content": {"*/*": {"schema": {}}}}
        described["requestBody"] = anything
    return described


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": description}


def _answer(description: str, model: str) -> dict[str, Any]:
    return {"description": description, "content": {PLAIN: {"schema": _ref(model)}}}


def _ref(model: str) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model)}
