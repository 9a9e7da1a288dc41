"""The end of a run: accuracies by attack and model, gates, what refused the model, where results
are."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

SHOWN_IDS = 5
"""Images that the terminal names for a refusal."""


def print_summary(summary: dict[str, Any], folder: Path, console: Console) -> None:
    """Print the tables of a run's summary; `folder` is where its files are."""
    if "tuning" in summary:
        console.print(tuning_table(summary["tuning"]))
    console.print(accuracy_table(summary))
    console.print(gate_table(summary))
    for caveat in summary["caveats"]:
        console.print(f"[yellow]Caveat:[/] {escape(caveat)}", highlight=False)
    if summary["pushed"]:
        console.print(
            f"[green]Pushed[/] to {escape(summary['pushed'])}", highlight=False, soft_wrap=True
        )
    else:
        console.print(
            f"[red]Refused[/]{escape(refusal(summary))}; nothing was pushed",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        for problem in summary["serving_problems"]:
            console.print(
                f"[red]serving check:[/] {escape(problem)}", highlight=False, soft_wrap=True
            )
        print_refusals(summary["gates"], folder, console)
    nodes = summary["nodes"].values()
    cached = f"{sum(node['cached'] for node in nodes)} of {len(nodes)} nodes from the cache"
    results = f"{summary['seconds']:.0f} s, {cached}; results in {escape(str(folder))}"
    console.print(results, highlight=False, soft_wrap=True)


def refusal(summary: dict[str, Any]) -> str:
    """Who refused the model. Where every gate lets it through, its blessing was withdrawn after an
    earlier run, whose evaluation this one took from the cache."""
    missed = [gate["name"] for gate in summary["gates"] if not gate["passed"]]
    missed += ["the serving check"] if summary["serving_problems"] else []
    if missed:
        return f" by {', '.join(missed)}"
    withdrawn = summary["withdrawn"]
    reason = f": {withdrawn['reason']}" if withdrawn["reason"] else ""
    return (
        ": this model's blessing was withdrawn (rollback on "
        f"{withdrawn['at'][:10]} by {withdrawn['by']}{reason})"
    )


def accuracy_table(summary: dict[str, Any]) -> Table:
    """One row an attack, one column a model."""
    models, threat = summary["models"], summary["threat"]
    images = f"{summary['examples']['test']:,} test images"
    table = Table(
        title=f"Accuracy on {images}, {threat['norm']}, epsilon {threat['epsilon']}, seed "
        f"{summary['seed']}"
    )
    table.add_column("images")
    for model in models:
        table.add_column(model, justify="right")
    rows = {"clean": {model: result["clean"] for model, result in models.items()}}
    first = next(iter(models.values()))
    for attack in first["transfer"]:
        label = f"{attack} image made against the other model"
        rows[label] = {model: result["transfer"][attack] for model, result in models.items()}
    for attack in first["white_box"]:
        rows[f"left by {with_effort(attack, summary)}"] = {
            model: result["white_box"][attack] for model, result in models.items()
        }
    rows["worst case over all of these"] = {
        model: result["worst_case"] for model, result in models.items()
    }
    rows["certified"] = {model: result["certified"] for model, result in models.items()}
    for label, values in rows.items():
        table.add_row(
            label, *("-" if values[model] is None else f"{values[model]:.2%}" for model in models)
        )
    return table


def with_effort(attack: str, summary: dict[str, Any]) -> str:
    """An attack's name with how hard it tried, where that is more than one step."""
    effort = summary["attacks"].get(attack, {"steps": 1, "restarts": 1})
    unit = "queries" if "queries" in effort else "steps"
    shown = f"{attack}, {effort[unit]:,} {unit}" if effort[unit] > 1 else attack
    return f"{shown} x {effort['restarts']}" if effort["restarts"] > 1 else shown


def tuning_table(tuning: dict[str, Any]) -> Table:
    """One row a trial of the search, the best first."""
    trials = tuning["trials"]
    table = Table(
        title=f"Search on the validation split, clean accuracy at least {tuning['clean_floor']:.2%}"
    )
    settings = list(trials[0]["values"])
    for name in (
        *(setting.rpartition(".")[2] for setting in settings),
        "clean",
        "PGD-20",
        "certified",
    ):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("")
    for trial in trials:
        marks = [
            name
            for name, holds in (("chosen", trial["chosen"]), ("front", trial["front"]))
            if holds
        ]
        shares = (trial[name] for name in ("clean", "adversarial", "certified"))
        table.add_row(
            *(f"{trial['values'][name]:.4g}" for name in settings),
            *("-" if share is None else f"{share:.2%}" for share in shares),
            ", ".join(marks),
        )
    return table


def gate_table(summary: dict[str, Any]) -> Table:
    """One row a gate: what was found of the robust model, and what had to be."""
    table = Table(title="Gates on the robust model")
    table.add_column("gate", overflow="fold")
    for column in ("value", "95 % interval", "bound"):
        table.add_column(column, justify="right")
    table.add_column("")
    for gate in summary["gates"]:
        share = gate["interval"] is not None
        shown = [f"{end:.2%}" for end in gate["interval"]] if share else []
        found = gate["value"] if share else gate["judged"]
        value = "did not run" if found is None else f"{found:.2%}" if share else f"{found:.2g}"
        bound = f"{gate['bound']:.2%}" if share else f"{gate['bound']:g}"
        verdict = "[green]passed" if gate["passed"] else "[red]refused"
        table.add_row(gate["name"], value, " to ".join(shown), f"{gate['op']} {bound}", verdict)
    return table


def print_refusals(gates: list[dict[str, Any]], folder: Path, console: Console) -> None:
    """What each refusing gate says, how far the model is from passing, and some of the images
    against it."""
    for gate in gates:
        if gate["passed"]:
            continue
        lines = [f"[red]{gate['name']}:[/] {escape(gate['sentence'])}"]
        if gate["images_to_change"]:
            lines.append(
                f"{gate['images_to_change']:,} more images would have to be answered rightly."
            )
        if gate["ids"]:
            shown = ", ".join(gate["ids"][:SHOWN_IDS])
            more = len(gate["ids"]) - SHOWN_IDS
            rest = f" and {more:,} more in {folder / 'summary.json'}" if more > 0 else ""
            lines.append(escape(f"Images against it: {shown}{rest}"))
        for line in lines:
            console.print(line, highlight=False, soft_wrap=True)
