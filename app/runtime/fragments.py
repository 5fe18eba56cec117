"""`orjson.Fragment` in what an author returns or publishes: JSON that is written as it is, so it is read first.

Called by the driver and the steps. Unread, a broken one would make a result, a published event or a part of the journal
that nobody can read, and one such as `1,"id":"another"` would add fields to the record around it.
"""

from sys import getrefcount
from typing import Any, Final

import orjson

from topics.codec import encode_data
from topics.malformed import Malformed

# Each Fragment holds a reference to its type, so while the type has only those that it has now, before any author's
# module is loaded, there is no Fragment anywhere and nothing to look for: 0.05 us, whatever the value. Walking through
# a value of 1 KB or reading its JSON takes 3 to 4 us, three times what writing it does. A reference too many, such as
# an author's `from orjson import Fragment`, costs that time and nothing else.
_Fragment = orjson.Fragment
_ALONE = getrefcount(_Fragment)
_probe = _Fragment(b"null")
_REFERENCES: Final = _ALONE if getrefcount(_Fragment) > _ALONE else -1
"""-1 where a Fragment does not count: then every value is read."""
del _probe


def checked(value: Any, what: str) -> Any:
    """Return `value`, or its JSON once it was read, where a Fragment may be in it.

    Raises Malformed: `what` is not JSON.
    """
    if getrefcount(_Fragment) == _REFERENCES:
        return value
    try:
        encoded = encode_data(value, what)
        orjson.loads(encoded)
    except orjson.JSONDecodeError as error:
        raise Malformed("data_not_json", f"{what} has an orjson.Fragment that is not JSON: {error}") from None
    return _Fragment(encoded)
