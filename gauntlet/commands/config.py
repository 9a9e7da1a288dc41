"""`gauntlet config`: all settings, and what each of them means."""

from pathlib import Path

import click

from foundation.errors import ConfigError
from gauntlet.options import console_beside, json_option, settings_options
from gauntlet.parameters import OUTPUT_FILE


@click.group(invoke_without_command=True)
@settings_options
@click.option(
    "--write",
    "toml_file",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Also write the settings here, as a TOML with what each means, to be changed and given to "
    "--config; as ./gauntlet.toml it is read by itself.",
)
@json_option("the settings")
@click.pass_context
def config(
    context: click.Context,
    preset: str | None,
    config_file: Path | None,
    assignments: tuple[str, ...],
    toml_file: Path | None,
    json_file: Path | None,
) -> None:
    """Show all settings, and what differs from the defaults and from the preset.

    \b
      gauntlet config --preset smoke
      gauntlet config --preset tutorial --set trainer.epochs=9 --write gauntlet.toml
      gauntlet config --config runs/results/RUN_ID/config.json
      gauntlet config explain trainer.schedule

    Settings come from, each winning over the one before: the preset, the file (--config, or
    ./gauntlet.toml), --set. A row in bold differs from the preset; one that is dim does nothing
    here.
    """
    if context.invoked_subcommand:
        return
    from foundation.whole import is_stream, write_text
    from gauntlet.configuration import beginning, looked_up, noted
    from gauntlet.documents import Settings
    from gauntlet.tables.config import settings_of, settings_table
    from pipeline.definition import DEFAULT_PRESET
    from pipeline.definition.settings_text import settings_text

    if toml_file and toml_file.exists() and not is_stream(toml_file):
        raise ConfigError(
            f"--write {toml_file}: there already, and its comments and presets would be gone; name "
            "another, or remove it first"
        )
    console = console_beside(json_file)
    start = beginning(preset, config_file)
    base, found = start.base, noted(start, looked_up(start, assignments, console))
    if toml_file:
        write_text(toml_file, settings_text(found, base or DEFAULT_PRESET))
    if json_file:
        settings = tuple(settings_of(found, base))
        write_text(json_file, Settings(preset=found.preset, settings=settings).to_json())
    console.print(settings_table(found, base))
    for name, reason in found.unused.items():
        console.print(f"{name} does nothing with {reason}", markup=False, highlight=False)


@config.command(context_settings={"max_content_width": 100})
@click.argument("name")
def explain(name: str) -> None:
    """Say what the setting NAME means, what it may be, its default, and who is told it.

    NAME is a whole name, a section, or the last part of a name.

    \b
      gauntlet config explain trainer.schedule
      gauntlet config explain recipe
      gauntlet config explain epsilon
    """
    from gauntlet.tables.config import explained
    from pipeline.definition.settings import named, sections

    if name in sections():
        click.echo(f"{name}: {sections()[name]}\n")
    click.echo("\n\n".join("\n".join(explained(setting)) for setting in named(name)))
