"""Valid JSON only: what is written through here, every parser reads."""

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar


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


class Document:
    """A dataclass that is the whole content of a JSON file which others may read.

    The first entry of the file is `schema`: what it holds, and the version of its form. Entries may
    be added to a version; one that goes, or that means something else, makes another version.

        class Answers(Document, schema="predict/1"):
    """

    documents: ClassVar[dict[str, type["Document"]]] = {}
    """All of them by their schema."""

    schema: ClassVar[str]

    def __init_subclass__(cls, schema: str) -> None:
        cls.schema = f"gauntlet/{schema}"
        Document.documents[cls.schema] = cls

    def plain(self) -> dict[str, Any]:
        """The content without its schema."""
        content = plain(self)
        assert isinstance(content, dict)
        return content

    def to_json(self) -> str:
        """The text of the file."""
        return dumps({"schema": self.schema} | self.plain()) + "\n"
