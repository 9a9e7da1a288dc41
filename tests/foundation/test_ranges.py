"""A range stands in a type: it is found there, also in the entries of a list, and it is checked."""

from dataclasses import dataclass

import pytest

from foundation.errors import ConfigError
from foundation.ranges import Fraction, Positive, Section, Size, ranges


@dataclass(frozen=True, kw_only=True)
class Paint(Section):
    section = "paint"
    share: Fraction = 0.5
    sizes: tuple[Size, ...] = (1,)
    frame: tuple[Size, Size] | None = None
    name: str = ""


def test_ranges_are_found_wherever_they_stand_in_a_type() -> None:
    assert [each.words for each in ranges(Positive)] == ["positive and finite"]
    assert {each.words for each in ranges(tuple[Size, Size] | None)} == {"at least 1"}
    assert not list(ranges(tuple[int, ...] | str | None))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 1.5}, r"paint.share is a fraction in \[0, 1\], got 1.5"),
        ({"share": float("nan")}, r"paint.share is a fraction in \[0, 1\], got nan"),
        ({"sizes": (3, 0, -1)}, "paint.sizes is at least 1, got 0"),
        ({"frame": (3, 0)}, "paint.frame is at least 1, got 0"),
    ],
    ids=str,
)
def test_what_is_outside_is_named(wrong: dict[str, object], message: str) -> None:
    assert Paint(sizes=(), frame=(1, 1), share=0.0)
    with pytest.raises(ConfigError, match=f"^{message}$"):
        Paint(**wrong)
