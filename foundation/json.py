"""Valid JSON only: what is written through here, every parser reads."""

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any


def dumps(value: object, indent: int | None = 2) -> str:
    """A value as JSON text; a number that is not finite becomes null.

    Args:
        value: dataclasses become objects, enums their values, paths text, mappings and sequences
            what they are.
        indent: spaces a level; None for one line.

    Raises:
        TypeError: JSON has nothing for a value, such as an array.
    """
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def plain(value: object) -> Any:
    """A value as dicts, lists, text, finite numbers, booleans and None."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value))
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {plain(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value
