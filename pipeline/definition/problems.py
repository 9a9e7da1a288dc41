"""What a mistake in the settings is answered with."""

import difflib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import pydantic

from trainer.recipe_config import RECIPES

LISTS = "`gauntlet config` lists all settings"

EXPECTED = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "missing": "a value for it",
}
"""What pydantic wanted, by the type of its error."""


def told(error: pydantic.ValidationError) -> str:
    """A problem a setting: its name, the value, and what was expected."""
    return "; ".join(
        f"{_setting(problem['loc'])}={problem['input']!r}: {expected(problem)}"
        for problem in error.errors(include_url=False)
    )


def expected(problem: Any) -> str:
    """What pydantic wanted, in our words where it has a type of error for it."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind in ("enum", "literal_error"):
        return f"expected {context['expected']}"
    if kind in ("too_long", "too_short"):
        return f"expected {context.get('max_length', context.get('min_length'))} values"
    return f"expected {EXPECTED[kind]}" if kind in EXPECTED else str(problem["msg"])


def _setting(location: tuple[int | str, ...]) -> str:
    """The name of a setting by pydantic's location, which has the recipe's name in between."""
    parts = [str(part) for part in location]
    if parts[0] == "recipe":
        del parts[1:2]
    return ".".join(parts)


def unknown(
    name: str, known: Iterable[str], used: Iterable[str] | None = None, recipe: str = ""
) -> str:
    """What to answer to a name that the chosen recipe, or any configuration, does not have.

    known: names of all settings. used: those that do something; None for all. recipe: the chosen.
    """
    section, _, key = name.rpartition(".")
    users = recipes_with(key)
    if section == "recipe" and users:
        return not_used(name, f"recipe.name={recipe}, only with {', '.join(users)}")
    known = list(known)
    own = [setting for setting in known if setting.startswith(f"{section}.")]
    similar = _similar(key, own) or _similar(key, known if used is None else used)
    hint = f": did you mean {' or '.join(similar)}?" if similar else ";"
    return f"unknown setting {name!r}{hint} {LISTS}"


def recipes_with(key: str) -> list[str]:
    """Names of the recipes that have a setting."""
    return [
        recipe
        for recipe, kind in RECIPES.items()
        if any(key == setting.name for setting in fields(kind))
    ]


def not_used(name: str, reason: str) -> str:
    """What to answer to a setting that would do nothing."""
    return f"{name} is not used with {reason}; `gauntlet config explain {name}` says when it is"


def _similar(key: str, names: Iterable[str]) -> list[str]:
    """Those of the names of settings whose last part is most like a misspelt one."""
    keys = {name: name.rpartition(".")[2] for name in names}
    nearest = difflib.get_close_matches(key, keys.values(), n=1, cutoff=0.75)
    return [name for name in keys if keys[name] in nearest]
