from base64 import b64encode

import pytest

from topics.cloudevents import from_binary, from_structured
from topics.fields import Found
from topics.malformed import Malformed

EVENT = {"specversion": "1.0", "id": "ce-1", "source": "/shop", "type": "created", "subject": "orders/created"}
FOUND = Found(
    topic="orders/created",
    source="/shop",
    event_id="ce-1",
    event_type="created",
    event_key=None,
    created_at=None,
    data=None,
    traceparent=None,
)


def test_structured_data_may_be_base64_of_json_or_text() -> None:
    encoded = b64encode(b'{"n": 1}').decode()
    assert from_structured({**EVENT, "data_base64": encoded}, {}) == FOUND._replace(data={"n": 1})
    text = {**EVENT, "data_base64": encoded, "datacontenttype": "text/plain"}
    assert from_structured(text, {}) == FOUND._replace(data='{"n": 1}')


def test_binary_data_is_json_unless_its_content_type_says_text() -> None:
    headers = {f"ce_{name}": text for name, text in EVENT.items()}
    assert from_binary(b"[1]", headers) == FOUND._replace(data=[1])
    assert from_binary(b"[1]", {**headers, "content-type": "text/plain; charset=utf-8"}) == FOUND._replace(data="[1]")
    assert from_binary(None, headers) == FOUND


def test_the_tracing_extension_is_kept() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert from_structured({**EVENT, "traceparent": trace}, {}).traceparent == trace


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject"])
def test_a_missing_attribute_is_named_in_either_mode(name: str) -> None:
    rest = {key: value for key, value in EVENT.items() if key != name}
    with pytest.raises(Malformed, match=f"/{name}"):
        from_structured(rest, {})
    with pytest.raises(Malformed, match=f"ce_{name}"):
        from_binary(b"{}", {f"ce_{key}": text for key, text in rest.items()})
