"""Ranges of settings: types of numbers that say what they may be, as `beta: Positive = 6.0`.

The range stands in the type alone, which is checked when a configuration is made and read where a
setting is explained.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, NamedTuple, get_args

from foundation.errors import ConfigError


class Range(NamedTuple):
    """What a number may be, in words and as a test."""

    words: str
    holds: Callable[[float], bool]


NOT_NEGATIVE = Range("a finite number >= 0", lambda x: 0 <= x < float("inf"))

Positive = Annotated[float, Range("positive and finite", lambda x: 0 < x < float("inf"))]
NotNegative = Annotated[float, NOT_NEGATIVE]
Fraction = Annotated[float, Range("a fraction in [0, 1]", lambda x: 0 <= x <= 1)]
FractionBelowOne = Annotated[float, Range("a fraction in [0, 1)", lambda x: 0 <= x < 1)]
Share = Annotated[float, Range("a fraction in (0, 1]", lambda x: 0 < x <= 1)]
Size = Annotated[int, Range("at least 1", lambda x: x >= 1)]
Count = Annotated[int, Range("at least 0", lambda x: x >= 0)]
Seed = Annotated[int, Range(f"a whole number from 0 to {2**32 - 1}", lambda x: 0 <= x < 2**32)]


def ranges(kind: Any) -> Iterator[Range]:
    """The ranges in a type, also of the entries of a tuple."""
    yield from (each for each in getattr(kind, "__metadata__", ()) if isinstance(each, Range))
    for inner in get_args(kind):
        yield from ranges(inner)


def check_ranges(config: Any, section: str = "") -> None:
    """Raises ConfigError for a number of a dataclass, or an entry of a tuple, outside its range."""
    prefix = f"{section}." if section else ""
    for setting in fields(config):
        value = getattr(config, setting.name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        for allowed in dict.fromkeys(ranges(setting.type)):
            if wrong := [number for number in numbers if not allowed.holds(number)]:
                raise ConfigError(f"{prefix}{setting.name} is {allowed.words}, got {wrong[0]}")


@dataclass(frozen=True, kw_only=True)
class Section:
    """Settings of one section, `section.key`, whose ranges are checked when it is made.

    Raises:
        ConfigError: a number outside its range.
    """

    section: ClassVar[str]

    def __post_init__(self) -> None:
        check_ranges(self, self.section)

    @property
    def unused(self) -> dict[str, str]:
        """Settings that do nothing here, and for each the setting that is the reason."""
        return {}


def quotient(text: str) -> float | None:
    """The value of a text such as 8/255, as who thinks in grey levels writes it; None of any
    other."""
    found = re.fullmatch(r"\s*(\d+)\s*/\s*([1-9]\d*)\s*", text)
    return int(found[1]) / int(found[2]) if found else None
