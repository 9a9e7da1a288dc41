"""What is read of docstrings."""

from dataclasses import dataclass

from pipeline.definition.meanings import described, meanings, purpose


@dataclass
class Base:
    """What all have. size: in metres: of one side."""

    size: int = 1


@dataclass
class Derived(Base):
    """One of them, such as size: no field of its own.

    first, second: for both.
        It goes on here. third: the last; see first.
    fourth: behind a sentence without a full stop
    fifth: not found, as it stands in the middle.

    Raises:
        ConfigError: first: no meaning.
    """

    first: int = 1
    second: int = 2
    third: int = 3
    fourth: int = 4
    fifth: int = 5


def test_meanings_stand_behind_names_at_the_begin_or_after_a_sentence() -> None:
    assert meanings(Derived) == {
        "size": "in metres: of one side.",
        "first": "for both. It goes on here.",
        "second": "for both. It goes on here.",
        "third": "the last; see first.",
        "fourth": "behind a sentence without a full stop fifth: not found, as it stands in the "
        "middle.",
    }


def test_a_purpose_ends_where_fields_begin() -> None:
    assert purpose(Base) == "What all have."
    assert purpose(Derived) == "One of them, such as size: no field of its own."
    assert described(Base) == ""
    assert described(Derived).startswith("first, second: for both.")
