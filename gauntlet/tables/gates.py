"""What a model must reach to be pushed: a row a gate."""

from rich.table import Table

from components.evaluator.gate import Gate, Quantity
from pipeline.definition.config import RunConfig
from robustness.config import CheckName


def gate_table(config: RunConfig, gates: list[Gate]) -> Table:
    """One row a gate, in words."""
    threat = config.threat
    table = Table(
        title=f"Gates of preset {config.preset}: {config.data.dataset}, {threat.norm}, epsilon "
        f"{threat.epsilon}"
    )
    for column in ("gate", "what must hold on the test split"):
        table.add_column(column)
    for gate in gates:
        table.add_row(gate.name, condition(gate))
    return table


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
            return (
                "the served model answers otherwise than the attacked one on "
                f"{gate.op} {gate.bound:.2%} of the rows"
            )
        case Quantity.NO_WORSE:
            where = "without any attack" if gate.argument == ("clean",) else "under every attack"
            return (
                f"no significant loss to the latest blessed model {where} "
                f"(exact paired test, p {gate.op} {bound})"
            )
