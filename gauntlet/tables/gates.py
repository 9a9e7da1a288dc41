"""What a model must reach to be pushed: a row a gate."""

from rich.markup import escape
from rich.table import Table

from components.evaluator.gate import Gate
from pipeline.definition.config import RunConfig


def gate_table(config: RunConfig, gates: list[Gate]) -> Table:
    """One row a gate, in words."""
    threat = config.threat
    table = Table(
        title=escape(
            f"Gates of preset {config.preset}: {config.data.dataset}, {threat.norm}, epsilon "
            f"{threat.epsilon}"
        )
    )
    for column in ("gate", "what must hold on the test split"):
        table.add_column(column)
    for gate in gates:
        table.add_row(gate.name, gate.asks())
    return table
