"""The settings of a configuration as a table and as plain values, and one of them explained."""

import textwrap
from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from gauntlet.documents import SettingValue
from pipeline.definition.config import RunConfig
from pipeline.definition.presets import preset
from pipeline.definition.settings import Setting, all_settings, as_text, has, in_presets, value_of

WIDTH = 90

LISTED = 4
"""Longer lists are shortened."""


def settings_of(config: RunConfig, base: str) -> list[SettingValue]:
    """Every setting that the configuration's recipe has, as plain values.

    base: the preset of ours that it began with; '' where nobody knows it: nothing is compared.
    """
    begun = preset(base) if base else config
    return [
        SettingValue(
            name=setting.name,
            value=value_of(config, setting),
            default=setting.default,
            preset=value_of(begun, setting) if has(begun, setting) else setting.default,
            unused_with=config.unused.get(setting.name),
            meaning=setting.meaning,
            values=setting.values,
            told=tuple(setting.told),
        )
        for setting in all_settings().values()
        if has(config, setting)
    ]


def settings_table(config: RunConfig, base: str) -> Table:
    """One row a setting: its value, and what the defaults and the preset say where they differ."""
    table = Table(title=escape(f"Settings of preset {config.preset}"))
    columns = ["default", *([f"preset {base}"] if base else [])]
    for column in ("setting", "value", *(f"{name}, where it differs" for name in columns)):
        table.add_column(escape(column), overflow="fold", no_wrap=column == "setting")
    for row in settings_of(config, base):
        name, value = row.name, row.value
        others = [row.default, *([row.preset] if base else [])]
        differing = [in_short(other) if other != value else "" for other in others]
        mark = "dim" if row.unused_with else "bold" if value != others[-1] else ""
        table.add_row(*map(escape, (name, shown(value), *differing)), style=mark)
    return table


def shown(value: Any) -> str:
    """A plain value in a cell."""
    return as_text(value).replace(",", ", ") if isinstance(value, list) else as_text(value)


def in_short(value: Any) -> str:
    """A plain value in a cell beside the one that counts."""
    if isinstance(value, list) and len(value) > LISTED:
        return f"{shown(value[:1])}, ... ({len(value)})"
    return shown(value)


def explained(setting: Setting) -> Iterator[str]:
    """Lines that tell of a setting."""
    yield setting.name
    yield from _paragraph("", setting.meaning)
    yield from _paragraph("values", setting.values)
    yield from _paragraph("", setting.meaning_of_choices)
    yield from _paragraph("default", in_short(setting.default) or "empty")
    values: dict[str, list[str]] = {}
    for name, value in in_presets(setting).items():
        values.setdefault(in_short(value) or "empty", []).append(name)
    for i, (value, names) in enumerate(values.items()):
        yield from _paragraph("" if i else "presets", f"{', '.join(names)}: {value}")
    yield from _paragraph("told to", ", ".join(setting.told))
    yield from _paragraph("only with", ", ".join(f"recipe.name={r}" for r in setting.recipes))
    yield from _paragraph("unused with", ", ".join(setting.unused_with))


def _paragraph(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"  {head:<12}", subsequent_indent=" " * 14,
        break_on_hyphens=False,
    )  # fmt: skip
