"""`gauntlet gates`: what a model must reach to be pushed, in one place."""

import dataclasses
from pathlib import Path

import click

from gauntlet.options import console_beside, json_option, settings_options


@click.command
@settings_options
@json_option("the gates")
def gates(preset: str, assignments: tuple[str, ...], json_file: Path | None) -> None:
    """Show the gates: what a model must reach to be pushed.

    \b
      gauntlet gates --preset record
      gauntlet gates --set gates.worst_case=0.95 --json gates.json
    """
    # Here and not above, so that --help stays quick; as in the other commands.
    from foundation.json import dumps
    from foundation.whole import write_text
    from gauntlet.tables.gates import gate_table
    from pipeline.definition.config import GatesConfig, override
    from pipeline.definition.gates import gates as gates_of
    from pipeline.definition.presets import preset as named_preset

    settings = ", ".join(field.name for field in dataclasses.fields(GatesConfig))
    config = override(named_preset(preset), assignments)
    asked = gates_of(config.gates)
    if json_file:
        write_text(json_file, dumps([gate.plain() for gate in asked]) + "\n")
    console = console_beside(json_file)
    console.print(gate_table(config, asked))
    console.print(
        "A share is judged on the far end of its exact 95 % interval: the lower end for >=, the "
        "upper for <=.\nOne gate that fails refuses the push; so does the serving check, and data "
        "that breaks the schema or has drifted ends the run before training.\n"
        f"--set gates.NAME=VALUE changes {settings}. `champion` is the level of both champion_* "
        "gates, `checks` the list of honesty checks; `served` is fixed.",
        highlight=False,
    )
