"""Values in TOML, which Python reads by itself (tomllib) and does not write."""

import json
from collections.abc import Mapping
from typing import Any


def toml(value: Any) -> str:
    """A value in TOML, whose texts, numbers and lists are written as JSON's, except that it knows
    no DEL within a text."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key} = {toml(each)}" for key, each in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
