"""`gauntlet gates`: what a model must reach to be pushed, in one place."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gauntlet.errors import exit_code
from gauntlet.run import check_writable
from pipeline.definition.config import override
from pipeline.definition.gates import gates as gates_of
from pipeline.definition.presets import preset as named_preset


@exit_code
def gates(preset: str, assignments: tuple[str, ...], json_file: Path | None) -> int:
    """The command; returns the exit code."""
    config = override(named_preset(preset), assignments)
    found = gates_of(config.gates)
    if json_file:
        check_writable(json_file)
        json_file.write_text(json.dumps([gate.plain() for gate in found], indent=2) + "\n")
    threat = config.threat
    table = Table(
        title=f"Gates of preset {preset}: {config.data.dataset}, {threat.norm}, epsilon {threat.epsilon}"
    )
    for column in ("gate", "what must hold on the test split"):
        table.add_column(column)
    for gate in found:
        table.add_row(gate.name, gate.asks())
    console = Console()
    console.print(table)
    console.print(
        "A share is judged on the far end of its exact 95 % interval: the lower end for >=, the "
        "upper for <=.\nOne gate that fails refuses the push. Change them with --set "
        "gates.NAME=VALUE.",
        highlight=False,
    )
    return 0
