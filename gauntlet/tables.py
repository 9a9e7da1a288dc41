"""What a person sees at the end of a run: accuracies by model and attack, gates, where the model went."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table


def print_summary(summary: dict[str, Any], folder: Path, console: Console) -> None:
    """Print the tables of a run's summary; `folder` is where its files are."""
    console.print(accuracy_table(summary))
    console.print(gate_table(summary))
    for caveat in summary["caveats"]:
        console.print(f"[yellow]Caveat:[/] {escape(caveat)}", highlight=False)
    if summary["pushed"]:
        console.print(f"[green]Pushed[/] to {escape(summary['pushed'])}", highlight=False, soft_wrap=True)
    else:
        missed = ", ".join(gate["name"] for gate in summary["gates"] if not gate["passed"])
        console.print(f"[red]Refused[/] by {missed or 'the Evaluator'}; nothing was pushed", highlight=False)
    nodes = summary["nodes"].values()
    cached = f"{sum(node['cached'] for node in nodes)} of {len(nodes)} nodes from the cache"
    results = f"{summary['seconds']:.0f} s, {cached}; results in {escape(str(folder))}"
    console.print(results, highlight=False, soft_wrap=True)


def accuracy_table(summary: dict[str, Any]) -> Table:
    """One row an attack, one column a model."""
    models, threat = summary["models"], summary["threat"]
    images = f"{summary['examples']['test']:,} test images"
    table = Table(title=f"Accuracy on {images}, {threat['norm']}, epsilon {threat['epsilon']}, seed {summary['seed']}")
    table.add_column("images")
    for model in models:
        table.add_column(model, justify="right")
    rows = {"clean": {model: result["clean"] for model, result in models.items()}}
    for kind, label in (("transfer", "made against the other model"), ("white_box", "made against itself")):
        for attack in next(iter(models.values()))[kind]:
            effort = summary["attacks"][attack]
            name = f"{attack}, {effort['steps']} steps x {effort['restarts']}" if effort["steps"] > 1 else attack
            rows[f"{name}, {label}"] = {model: result[kind][attack] for model, result in models.items()}
    rows["worst case over all of these"] = {model: result["worst_case"] for model, result in models.items()}
    for label, values in rows.items():
        table.add_row(label, *(f"{values[model]:.2%}" for model in models))
    return table


def gate_table(summary: dict[str, Any]) -> Table:
    """One row a gate: what the robust model reached and what it had to."""
    table = Table(title="Gates on the robust model")
    table.add_column("gate")
    table.add_column("value", justify="right")
    table.add_column("bound", justify="right")
    table.add_column("")
    for gate in summary["gates"]:
        value = "did not run" if gate["value"] is None else f"{gate['value']:.2%}"
        verdict = "[green]passed" if gate["passed"] else "[red]refused"
        table.add_row(gate["name"], value, f"{gate['op']} {gate['bound']:.2%}", verdict)
    return table
