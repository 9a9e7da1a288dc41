"""What a mistake in the settings is answered with."""

import difflib
from collections.abc import Iterable
from dataclasses import fields

import pydantic

from foundation.expected import expected
from trainer.recipe_config import RECIPES

LISTS = "`gauntlet config` lists all settings"


def told(error: pydantic.ValidationError) -> str:
    """A problem a setting: its name, the value, and what was expected."""
    return "; ".join(
        f"{_setting(problem['loc'])}={problem['input']!r}: {expected(problem)}"
        for problem in error.errors(include_url=False)
    )


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
