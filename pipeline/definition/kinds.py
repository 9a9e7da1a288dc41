"""What a value of a setting may be, by its type: in words, its choices, and whether one is."""

import json
import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pydantic

from foundation.errors import ConfigError
from foundation.ranges import quotient, ranges
from pipeline.definition.meanings import described

ONE = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
MANY = {int: "whole numbers", float: "numbers", str: "texts"}
NUMBERS = ("no", "one", "two", "three")


def words(kind: Any) -> str:
    """What a value of a type may be."""
    if _optional(kind):
        return f"{words(_members(kind)[0])}; or none"
    if get_origin(_bare(kind)) is tuple:
        return _list_in_words(get_args(_bare(kind)))
    if found := choices(kind):
        return "one of " + ", ".join(found)
    return _with_range(ONE[_bare(kind)], kind)


def choices(kind: Any) -> list[str]:
    """The values of a closed choice, or of the entries of a list of them; none for any other."""
    if get_origin(_bare(kind)) is Literal:
        return list(map(str, get_args(kind)))
    return [str(member.value) for enum in _enums(kind) for member in enum]


def meaning_of_choices(kind: Any) -> str:
    """What the choices mean: their own words, or those of the enum's docstring; '' without."""
    return " ".join(filter(None, map(_said_of, _enums(kind))))


def checked(value: Any, kind: Any) -> Any:
    """A plain value, as TOML and JSON have it, as one of the type; `none` is none where that is
    allowed.

    Raises:
        ConfigError: it is not of that type, or outside its range.
    """
    if value == "none" and _optional(kind):
        return None
    number = quotient(value) if _bare(kind) is float and isinstance(value, str) else None
    value = value if number is None else number
    try:
        text = json.dumps(value, allow_nan=False)
        result = pydantic.TypeAdapter(kind).validate_json(text, strict=True)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"expected {words(kind)}") from error
    entries = result if isinstance(result, tuple) else () if result is None else (result,)
    if not all(allowed.holds(entry) for allowed in ranges(kind) for entry in entries):
        raise ConfigError(f"expected {words(kind)}")
    return result


def _bare(kind: Any) -> Any:
    """A type without its range."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _members(kind: Any) -> list[Any]:
    """The types of a union, without None; a type alone for any other."""
    if get_origin(_bare(kind)) in (Union, types.UnionType):
        return [each for each in get_args(_bare(kind)) if each is not type(None)]
    return [kind]


def _optional(kind: Any) -> bool:
    return type(None) in get_args(_bare(kind))


def _enums(kind: Any) -> Iterator[type[Enum]]:
    """Enums in a type, also of the entries of a list."""
    bare = _bare(kind)
    if isinstance(bare, type) and issubclass(bare, Enum):
        yield bare
    for inner in get_args(bare):
        yield from _enums(inner)


def _said_of(kind: type[Enum]) -> str:
    own = [f"{member.value}: {member.meaning}." for member in kind if hasattr(member, "meaning")]
    return " ".join(own) if own else described(kind)


def _list_in_words(entries: tuple[Any, ...]) -> str:
    entry = entries[0]
    begin = "a list of" if entries[-1] is Ellipsis else NUMBERS[len(entries)]
    if found := choices(entry):
        return f"{begin} {', '.join(found)}"
    return _with_range(f"{begin} {MANY[_bare(entry)]}", entry, each="each ")


def _with_range(text: str, kind: Any, each: str = "") -> str:
    for allowed in ranges(kind):
        complete = allowed.words.startswith("a ") and not each
        return allowed.words if complete else f"{text}, {each}{allowed.words}"
    return text
