"""The tables of docs/settings.md, of the docstrings and types of the configuration.

    python scripts/settings_page.py

Writes all that follows `MARK` in the page anew; what stands above it is written by hand. A test
compares the page with what this would write.
"""

from collections.abc import Iterator
from pathlib import Path

from foundation.whole import write_text
from gauntlet.tables.config import in_short
from pipeline.definition.settings import Setting, all_settings, in_presets, sections

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

MARK = "<!-- From here on written by scripts/settings_page.py. -->"


def page(text: str) -> str:
    """The page with its tables as they are today."""
    head, mark, _ = text.partition(MARK)
    assert mark, f"{PAGE} has no line {MARK}"
    return f"{head}{MARK}\n\n" + "\n\n".join(_sections()) + "\n"


def _sections() -> Iterator[str]:
    yield "## seed\n\n" + _table("")
    for section, about in sections().items():
        meanings = "\n\n".join(_choices(section))
        yield f"## {section}\n\n{about}\n\n{_table(section)}" + f"\n\n{meanings}".rstrip()


def _table(section: str) -> str:
    columns = ("setting", "meaning", "values", "default", "presets with another", "told to")
    rows = [_row(setting) for setting in all_settings().values() if setting.section == section]
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(setting: Setting) -> tuple[str, ...]:
    only = ", ".join(f"`{name}`" for name in setting.recipes)
    unused = ", ".join(f"`{reason}`" for reason in setting.unused_with)
    meaning = setting.meaning
    meaning += f" Only with `recipe.name` {only}." if only else ""
    meaning += f" Not used with {unused}." if unused else ""
    cells = (meaning, setting.values, _code(setting.default), _others(setting))
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return (f"`{setting.name}`", *escaped, ", ".join(setting.told))


def _others(setting: Setting) -> str:
    values: dict[str, list[str]] = {}
    for name, value in in_presets(setting).items():
        if value != setting.default:
            values.setdefault(_code(value), []).append(f"`{name}`")
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in values.items())


def _code(value: object) -> str:
    text = in_short(value)
    return f"`{text}`" if text else "empty"


def _choices(section: str) -> Iterator[str]:
    for setting in all_settings().values():
        if setting.section == section and (meaning := setting.meaning_of_choices):
            yield f"`{setting.name}`: {meaning}"


if __name__ == "__main__":
    write_text(PAGE, page(PAGE.read_text()))
