"""`gauntlet gates`: what a model must reach to be pushed, in one place."""

import dataclasses
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.evaluator.gate import Gate, Quantity
from gauntlet.errors import exit_code
from gauntlet.run import check_writable
from pipeline.definition.config import override
from pipeline.definition.gates import gates as gates_of
from pipeline.definition.presets import preset as named_preset
from robustness.config import CheckName


@exit_code
def gates(preset: str, assignments: tuple[str, ...], json_file: Path | None) -> int:
    """The command; returns the exit code."""
    config = override(named_preset(preset), assignments)
    found = gates_of(config.gates)
    if json_file:
        check_writable(json_file)
        json_file.write_text(
            json.dumps([dataclasses.asdict(gate) for gate in found], indent=2) + "\n"
        )
    threat = config.threat
    table = Table(
        title=f"Gates of preset {preset}: {config.data.dataset}, {threat.norm}, epsilon {threat.epsilon}"
    )
    for column in ("gate", "what must hold on the test split"):
        table.add_column(column)
    for gate in found:
        table.add_row(gate.name, condition(gate))
    console = Console()
    console.print(table)
    console.print(
        "A share is judged on the far end of its exact 95 % interval: the lower end for >=, the "
        "upper for <=.\nOne gate that fails refuses the push. Change them with --set "
        "gates.NAME=VALUE.",
        highlight=False,
    )
    return 0


def condition(gate: Gate) -> str:
    """The gate in words."""
    bound = f"{gate.bound:.4g}"
    share = f"{gate.op} {gate.bound:.2%} of the images"
    match gate.quantity:
        case Quantity.ACCURACY:
            attack, _, source = gate.argument[0].partition("@")
            shown = (
                f"under the {attack} images made against the {source} model"
                if source
                else "without any attack"
            )
            return f"{share} are right {shown}"
        case Quantity.WORST_CASE:
            return f"{share} are right under every attack"
        case Quantity.CERTIFIED:
            return f"{share} are proven right"
        case Quantity.WORST_CLASS:
            return f"{share} of each class are right under every attack"
        case Quantity.GAP:
            return f"{share} are right without, and broken by, an attack"
        case Quantity.MISSING:
            return f"the model faced {', '.join(gate.argument)}"
        case Quantity.FAILED_CHECK:
            return f"honesty check: {CheckName(gate.argument[0]).meaning}"
        case Quantity.DISAGREEMENT:
            return f"the served model answers otherwise than the attacked one on {gate.op} {gate.bound:.2%} of the rows"
        case Quantity.NO_WORSE:
            where = "without any attack" if gate.argument == ("clean",) else "under every attack"
            return f"no significant loss to the latest blessed model {where} (exact paired test, p {gate.op} {bound})"
