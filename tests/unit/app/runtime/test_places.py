from typing import Any

import pytest

from app.runtime import places


def test_the_place_is_in_the_workflows_own_file_where_it_passed_there() -> None:
    def fails(given: Any) -> None:
        raise ValueError(given)

    with pytest.raises(ValueError, match="1") as caught:
        fails(1)
    place = f"{__file__}:{fails.__code__.co_firstlineno + 1}"
    assert places.place_of(caught.value, __file__) == place
    assert places.place_of(caught.value, "elsewhere.py") == place
    assert places.place_of(ValueError(), __file__) is None
