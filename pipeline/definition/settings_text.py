"""A configuration as a TOML to read and to change, which `settings_file` reads."""

import textwrap
from collections.abc import Iterator
from typing import Any

from foundation.toml import toml
from pipeline.definition.config import RunConfig
from pipeline.definition.settings import Setting, all_settings, as_text, has, sections, value_of

WIDTH = 100

HEAD = """\
Settings of Gauntlet. Lying in the current folder as gauntlet.toml it is read by itself, elsewhere \
by --config FILE. What is left out is as in the preset; --set SECTION.KEY=VALUE wins over this \
file. What the chosen recipe, network and devices do not use is not here."""


def settings_text(config: RunConfig, base: str) -> str:
    """All settings that the configuration uses, each with its meaning.

    base: the preset of ours that it began with; it is written where the configuration has the name
        of a user's own.
    """
    own = [f"[presets.{config.preset}]", f"preset = {toml(base)}"]
    top = [comment(HEAD), f"preset = {toml(config.preset)}"]
    parts = ["\n".join(top), *_sections(config)]
    if config.preset != base:
        parts.append("\n".join(own))
    return "\n\n".join(parts) + "\n"


def _sections(config: RunConfig) -> Iterator[str]:
    used = [s for s in all_settings().values() if has(config, s) and s.name not in config.unused]
    for section, about in {"": "", **sections()}.items():
        own = [entry(s, value_of(config, s)) for s in used if s.section == section]
        head = [comment(about), f"[{section}]"] if section else []
        yield "\n".join([*head, *own])


def entry(setting: Setting, value: Any) -> str:
    """One setting with its meaning; as a comment where it has no value."""
    default = as_text(setting.default)
    said = f"{capital(setting.meaning)} {capital(setting.values)}. Default: {default or 'empty'}."
    if value is None:
        return f"{comment(said)}\n# {setting.key} = {toml('none')}"
    return f"{comment(said)}\n{setting.key} = {toml(value)}"


def comment(text: str) -> str:
    """Lines of a comment."""
    return textwrap.fill(
        text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def capital(text: str) -> str:
    """A text as the begin of a sentence."""
    return text[:1].upper() + text[1:]
