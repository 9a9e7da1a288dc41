"""Ranges of settings: each number of a configuration says beside its default what it may be."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import ClassVar, NamedTuple, TypeVar

from foundation.errors import ConfigError

Number = TypeVar("Number", int, float)


class Range(NamedTuple):
    """What a number may be, in words and as a test."""

    words: str
    holds: Callable[[float], bool]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Settings of one section, `section.key`, whose ranges are checked when it is made.

    Raises:
        ConfigError: a number outside its range.
    """

    section: ClassVar[str]

    @property
    def unused(self) -> dict[str, str]:
        """Settings that do nothing here, and for each the setting that is the reason."""
        return {}

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, allowed = getattr(self, setting.name), setting.metadata.get("range")
            if allowed and not allowed.holds(value):
                raise ConfigError(f"{self.section}.{setting.name} is {allowed.words}, got {value}")


def positive(default: Number) -> Number:
    return _ranged(default, "positive and finite", lambda x: 0 < x < float("inf"))


def not_negative(default: Number) -> Number:
    return _ranged(default, "finite and not negative", lambda x: 0 <= x < float("inf"))


def at_least_one(default: int) -> int:
    return _ranged(default, "at least 1", lambda x: x >= 1)


def fraction(default: float) -> float:
    return _ranged(default, "in [0, 1]", lambda x: 0 <= x <= 1)


def fraction_below_one(default: float) -> float:
    return _ranged(default, "in [0, 1)", lambda x: 0 <= x < 1)


def share(default: float) -> float:
    return _ranged(default, "in (0, 1]", lambda x: 0 < x <= 1)


def _ranged(default: Number, words: str, holds: Callable[[float], bool]) -> Number:
    return field(default=default, metadata={"range": Range(words, holds)})
