"""Ranges of settings: types of numbers that say what they may be, as `beta: Positive = 6.0`."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, NamedTuple

from foundation.errors import ConfigError


class Range(NamedTuple):
    """What a number may be, in words and as a test."""

    words: str
    holds: Callable[[float], bool]


NOT_NEGATIVE = Range("finite and not negative", lambda x: 0 <= x < float("inf"))

Positive = Annotated[float, Range("positive and finite", lambda x: 0 < x < float("inf"))]
NotNegative = Annotated[float, NOT_NEGATIVE]
Fraction = Annotated[float, Range("in [0, 1]", lambda x: 0 <= x <= 1)]
FractionBelowOne = Annotated[float, Range("in [0, 1)", lambda x: 0 <= x < 1)]
Share = Annotated[float, Range("in (0, 1]", lambda x: 0 < x <= 1)]
Size = Annotated[int, Range("at least 1", lambda x: x >= 1)]
Count = Annotated[int, NOT_NEGATIVE]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Settings of one section, `section.key`, whose ranges are checked when it is made.

    Raises:
        ConfigError: a number outside its range.
    """

    section: ClassVar[str]

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            for allowed in getattr(setting.type, "__metadata__", ()):
                if not allowed.holds(value):
                    raise ConfigError(
                        f"{self.section}.{setting.name} is {allowed.words}, got {value}"
                    )

    @property
    def unused(self) -> dict[str, str]:
        """Settings that do nothing here, and for each the setting that is the reason."""
        return {}
