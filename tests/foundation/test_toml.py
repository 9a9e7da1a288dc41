"""What is written as TOML, Python's own reader reads as it was."""

import tomllib
from typing import Any

import pytest

from foundation.toml import toml

TEXTS = ["", "a, b", '"\\\n\t\x7f\x1f', "\u732b \U0001f408"]
VALUES = [0, -3, 1e-05, 1e22, True, [], [1, 2], ["a", '"'], *TEXTS]


@pytest.mark.parametrize("value", [*VALUES, {"steps": 20}, {}], ids=repr)
def test_values_survive(value: Any) -> None:
    read = tomllib.loads(f"key = {toml(value)}")["key"]
    assert read == value
    assert type(read) is type(value)


def test_what_no_file_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        toml(float("nan"))
