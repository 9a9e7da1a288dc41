"""What a model must reach to be pushed: a row a gate."""

from rich.markup import escape
from rich.table import Table

from components.evaluator.gate import Gate
from components.policy import Purpose
from robustness.config import shown_epsilon


def gate_table(title: str, purpose: Purpose, gates: list[Gate]) -> Table:
    """One row a gate, in words."""
    threat = f"{purpose.norm}, epsilon {shown_epsilon(purpose.epsilon)}"
    table = Table(title=escape(f"{title}: {purpose.dataset}, {threat}"))
    table.add_column("gate", no_wrap=True)
    table.add_column("what must hold on the test split")
    for gate in gates:
        table.add_row(gate.name, gate.asks())
    return table
