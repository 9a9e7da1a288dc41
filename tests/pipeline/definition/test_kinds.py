"""What a value may be: said in words, and checked without a guess."""

from enum import StrEnum
from typing import Any, Literal

import pytest

from foundation.errors import ConfigError
from foundation.ranges import Fraction, Positive, Size
from pipeline.definition.config import Pair
from pipeline.definition.kinds import checked, choices, words


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


KINDS = {
    "text": str,
    "true or false": bool,
    "a whole number, at least 1": Size,
    "a number, positive and finite": Positive,
    "a fraction in [0, 1]": Fraction,
    "text; or none": str | None,
    "one of red, blue": Colour,
    "one of a, b": Literal["a", "b"],
    "a list of red, blue": tuple[Colour, ...],
    "a list of texts": tuple[str, ...],
    "a list of whole numbers, each at least 1": tuple[Size, ...],
    "three whole numbers": tuple[int, int, int],
    "two whole numbers, each at least 1; or none": Pair | None,
}


@pytest.mark.parametrize("expected", KINDS)
def test_kinds_in_words(expected: str) -> None:
    assert words(KINDS[expected]) == expected


def test_choices_of_a_union_are_those_of_all() -> None:
    class Size(StrEnum):
        BIG = "big"

    assert choices(tuple[Colour | Size, ...]) == ["red", "blue", "big"]
    assert choices(int) == []


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, Positive, 1.0),
        ("8/255", Positive, 8 / 255),
        ("0/255", Fraction, 0.0),
        (["red"], tuple[Colour, ...], (Colour.RED,)),
        ([4, 5], Pair | None, (4, 5)),
        ("none", Pair | None, None),
        ("none", str | None, None),
        ("none", str, "none"),
    ],
)
def test_values_of_a_file(value: Any, kind: Any, expected: Any) -> None:
    assert checked(value, kind) == expected


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("2", Size),
        (True, Size),
        (2.0, Size),
        (0, Size),
        (1, bool),
        (True, Positive),
        (float("nan"), Fraction),
        (1.5, Fraction),
        ("8/0", Fraction),
        ("-1/2", Fraction),
        ("2/2", Size),
        (1, str),
        ("red", tuple[Colour, ...]),
        ([1, 0], Pair | None),
        ([1], Pair | None),
        (object(), str),
    ],
)
def test_nothing_is_guessed(value: Any, kind: Any) -> None:
    with pytest.raises(ConfigError, match=r"^expected "):
        checked(value, kind)
