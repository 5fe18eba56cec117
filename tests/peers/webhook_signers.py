"""Vendors' own libraries as senders and receivers of webhooks, in their own environment.

Reads a JSON list of asks from stdin and prints the list of answers: of `sign` headers, of `verify` whether the library
believes them. Texts alone: none of these libraries signs bytes that are no UTF-8.
"""

import json
import sys
from datetime import UTC, datetime
from importlib import import_module
from typing import Any


def stripe(ask: dict[str, Any]) -> Any:
    signature = import_module("stripe").WebhookSignature
    if ask["do"] == "sign":
        header = signature.generate_signature_header(ask["body"], ask["secret"], ask["at"])
        return {"stripe-signature": header}
    try:
        return signature.verify_header(ask["body"], ask["headers"]["stripe-signature"], ask["secret"], 300)
    except import_module("stripe").SignatureVerificationError:
        return False


def slack(ask: dict[str, Any]) -> Any:
    verifier = import_module("slack_sdk.signature").SignatureVerifier(ask["secret"])
    if ask["do"] == "sign":
        signature = verifier.generate_signature(timestamp=str(ask["at"]), body=ask["body"])
        return {"x-slack-signature": signature, "x-slack-request-timestamp": str(ask["at"])}
    return verifier.is_valid_request(ask["body"], ask["headers"])


def standard(ask: dict[str, Any], module: str = "standardwebhooks", prefix: str = "webhook") -> Any:
    library = import_module(module)
    hook = library.Webhook(ask["secret"])
    if ask["do"] == "sign":
        signature = hook.sign("msg_1", datetime.fromtimestamp(ask["at"], UTC), ask["body"])
        return {f"{prefix}-id": "msg_1", f"{prefix}-timestamp": str(ask["at"]), f"{prefix}-signature": signature}
    try:
        hook.verify(ask["body"], ask["headers"])
    except import_module("standardwebhooks.webhooks").WebhookVerificationError:
        return False
    return True


def svix(ask: dict[str, Any]) -> Any:
    return standard(ask, "svix.webhooks", "svix")


def nacl(ask: dict[str, Any]) -> Any:
    """The library that Discord's documentation uses; `secret` is the hex of a seed."""
    key = import_module("nacl.signing").SigningKey(bytes.fromhex(ask["secret"]))
    if ask["do"] == "sign":
        signature = key.sign(f"{ask['at']}{ask['body']}".encode()).signature.hex()
        return {"x-signature-ed25519": signature, "x-signature-timestamp": str(ask["at"])}
    headers = ask["headers"]
    try:
        signed = f"{headers['x-signature-timestamp']}{ask['body']}".encode()
        key.verify_key.verify(signed, bytes.fromhex(headers["x-signature-ed25519"]))
    except import_module("nacl.exceptions").BadSignatureError:
        return False
    return True


VENDORS = {"stripe": stripe, "slack_sdk": slack, "standardwebhooks": standard, "svix": svix, "nacl": nacl}

if __name__ == "__main__":
    print(json.dumps([VENDORS[ask["vendor"]](ask) for ask in json.load(sys.stdin)]))
