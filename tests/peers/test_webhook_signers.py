"""Webhooks signed by the vendors' own libraries, and what ours would sign believed by them.

Python's come with `tools/connector_peers.sh`; GitHub's is looked for in `node_modules` beside them.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from connectors.webhook import Accepted, Denied
from tests.peers.programs import PEERS
from tests.unit.connectors.webhook import signing
from tests.unit.connectors.webhook.signing import SECRET, WHSEC

HERE: Final = Path(__file__).parent
PYTHON: Final = PEERS / "bin" / "python"
OCTOKIT: Final = "@octokit/webhooks-methods"
SEED: Final = (b"7" * 32).hex()
BODIES: Final = [
    "",
    "{}",
    '{"id":"evt_1","type":"charge.failed","amount":7}',
    '{"text":"grüße, 你好, \U0001f600"}',
    " \n[1, 2,\t3]\r\n",
    "payload=%7B%22a%22%3A1%7D&x=1",
    '"' + "x" * 100_000 + '"',
]
VENDORS: Final[Mapping[str, tuple[Mapping[str, Any], str, str]]] = {
    "stripe": ({"provider": "stripe", "secret": SECRET}, SECRET, "stripe"),
    "slack_sdk": ({"provider": "slack", "secret": SECRET}, SECRET, "slack"),
    "standardwebhooks": ({"provider": "standard", "secret": WHSEC}, WHSEC, "standard"),
    "svix": ({"provider": "standard", "secret": WHSEC}, WHSEC, "standard"),
    "nacl": ({"provider": "discord", "public_key": signing.PUBLIC.hex()}, SEED, "discord"),
    OCTOKIT: ({"provider": "github", "secret": SECRET}, SECRET, "github"),
}
"""library -> (options of a source, the secret as the library takes it, our own signer)."""
OURS: Final[Mapping[str, Callable[[bytes], dict[str, str]]]] = {
    "stripe": signing.stripe,
    "slack": signing.slack,
    "standard": signing.standard,
    "discord": signing.discord,
    "github": signing.github,
}


def asked(vendor: str, asks: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Ask a library; skips the test where it is not installed."""
    if vendor == OCTOKIT:
        node = shutil.which("node")
        if node is None or not (PEERS / "node_modules" / OCTOKIT).is_dir():
            pytest.skip(f"{OCTOKIT} is not installed in {PEERS.name}/node_modules")
        command = [node, str(HERE / "octokit_signer.cjs")]
    else:
        importing = [str(PYTHON), "-c", f"import {vendor}"]
        if not PYTHON.exists() or subprocess.run(importing, capture_output=True, check=False).returncode:
            pytest.skip(f"{vendor} cannot be imported in {PEERS.name}; tools/connector_peers.sh installs it")
        command = [str(PYTHON), str(HERE / "webhook_signers.py")]
    done = subprocess.run(
        command,
        input=json.dumps([{"vendor": vendor, **one} for one in asks]),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NODE_PATH": str(PEERS / "node_modules")},
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert isinstance(answers, list)
    return answers


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_a_library_signs_is_accepted_and_nothing_that_was_changed(vendor: str) -> None:
    options, secret, _ = VENDORS[vendor]
    at = int(signing.NOW.timestamp())
    bodies = [body for body in BODIES if body or vendor != OCTOKIT]  # it takes no empty body
    asks = [{"do": "sign", "secret": secret, "body": body, "at": at} for body in bodies]
    receiver = signing.receiver(**options)
    for body, headers in zip(bodies, asked(vendor, asks), strict=True):
        raw = body.encode()
        plain = dict(headers) | {"content-type": "text/plain"}
        accepted = receiver.receive(signing.request(raw, plain))
        assert isinstance(accepted, Accepted), (body[:40], accepted)
        for changed in (raw + b" ", raw[1:] or b"x", raw.replace(b"1", b"2") if b"1" in raw else b"\x00" + raw):
            denied = receiver.receive(signing.request(changed, plain))
            assert isinstance(denied, Denied)
            assert (denied.status, denied.code) == (401, "signature_wrong")


@pytest.mark.parametrize("vendor", VENDORS)
def test_another_secret_of_the_library_is_denied(vendor: str) -> None:
    options, _, _ = VENDORS[vendor]
    other = {"nacl": (b"8" * 32).hex(), "svix": "whsec_" + "QUFB" * 8, "standardwebhooks": "whsec_" + "QUFB" * 8}
    ask = {
        "do": "sign",
        "secret": other.get(vendor, "another-secret"),
        "body": "{}",
        "at": int(signing.NOW.timestamp()),
    }
    (headers,) = asked(vendor, [ask])
    denied = signing.receiver(**options).receive(signing.request(b"{}", headers))
    assert isinstance(denied, Denied)
    assert denied.code == "signature_wrong"


@pytest.mark.parametrize("vendor", [name for name in VENDORS if name != OCTOKIT])
def test_a_library_that_signed_too_long_ago_is_denied(vendor: str) -> None:
    options, secret, _ = VENDORS[vendor]
    at = int(signing.NOW.timestamp()) - 301
    (headers,) = asked(vendor, [{"do": "sign", "secret": secret, "body": "{}", "at": at}])
    denied = signing.receiver(**options).receive(signing.request(b"{}", headers))
    assert isinstance(denied, Denied)
    assert denied.code == "timestamp_outside_tolerance"


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_our_tests_sign_is_what_the_library_believes(vendor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So the signers of the unit tests are not merely our own reading of the documentation."""
    _, secret, ours = VENDORS[vendor]
    monkeypatch.setattr(signing, "AT", str(int(time.time())))  # the libraries look at the clock
    bodies = [body for body in BODIES if body.startswith("{")]  # one of them reads JSON after the proof
    signed = [OURS[ours](body.encode()) for body in bodies]
    asks = [
        {"do": "verify", "secret": secret, "body": given, "headers": headers}
        for body, headers in zip(bodies, signed, strict=True)
        for given in (body, body + " ")
    ]
    assert asked(vendor, asks) == [True, False] * len(bodies)
    assert datetime.now(UTC).timestamp() - int(signing.AT) < 300, "this machine was too slow for the libraries"
