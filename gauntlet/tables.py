"""What a person sees at the end of a run or an evaluation: accuracies, gates or checks, where
results are."""

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
        missed = [gate["name"] for gate in summary["gates"] if not gate["passed"]]
        missed += ["the serving check"] if summary["serving_problems"] else []
        console.print(
            f"[red]Refused[/] by {', '.join(missed)}; nothing was pushed", highlight=False
        )
        for problem in summary["serving_problems"]:
            console.print(
                f"[red]serving check:[/] {escape(problem)}", highlight=False, soft_wrap=True
            )
        print_refusals(summary["gates"], folder, console)
    nodes = summary["nodes"].values()
    cached = f"{sum(node['cached'] for node in nodes)} of {len(nodes)} nodes from the cache"
    results = f"{summary['seconds']:.0f} s, {cached}; results in {escape(str(folder))}"
    console.print(results, highlight=False, soft_wrap=True)


def accuracy_table(summary: dict[str, Any]) -> Table:
    """One row an attack, one column a model."""
    models, threat = summary["models"], summary["threat"]
    images = f"{summary['examples']['test']:,} test images"
    table = Table(
        title=f"Accuracy on {images}, {threat['norm']}, epsilon {threat['epsilon']}, seed {summary['seed']}"
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
        effort = summary["attacks"].get(attack, {"steps": 1, "restarts": 1})
        unit = "queries" if "queries" in effort else "steps"
        shown = f"{attack}, {effort[unit]:,} {unit}" if effort[unit] > 1 else attack
        shown = f"{shown} x {effort['restarts']}" if effort["restarts"] > 1 else shown
        rows[f"left by {shown}"] = {
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


def print_evaluation(report: dict[str, Any], console: Console) -> None:
    """Print the tables of an evaluation's report."""
    results = report["results"]
    console.print(evaluation_table(results))
    for reason in dict.fromkeys(
        entry["not_certified"] for entry in results if entry["not_certified"]
    ):
        console.print(f"[yellow]Not certified:[/] {escape(reason)}", highlight=False)
    for note in report["notes"]:
        console.print(f"[yellow]Note:[/] {escape(note)}", highlight=False)
    for entry in results:
        if entry["checks"]:
            console.print(check_table(entry))
    if report["corruptions"]:
        console.print(corruption_table(report["corruptions"], results[0]["clean"]))
    seconds = sum(entry["seconds"] for entry in results)
    shown = f"{seconds:.0f} s; every image's verdict, results.json and curve.png are in {escape(report['folder'])}"
    console.print(shown, highlight=False, soft_wrap=True)


def evaluation_table(results: list[dict[str, Any]]) -> Table:
    """One row a stage, one column an epsilon."""
    first = results[0]
    table = Table(title=f"{first['examples']:,} images, {first['norm']}, seed {first['seed']}")
    table.add_column("epsilon")
    for entry in results:
        table.add_column(f"{entry['epsilon']:g}", justify="right")
    rows: list[tuple[str, list[float | None]]] = [("clean", [entry["clean"] for entry in results])]
    rows += [
        (f"left by {name}", [entry["attacks"][name] for entry in results])
        for name in first["attacks"]
    ]
    rows += [("[bold]worst case", [entry["worst_case"] for entry in results])]
    rows += [
        (f"proven up to {name}", [entry["certified_by"].get(name) for entry in results])
        for name in first["certified_by"]
    ]
    rows += [("[bold]certified", [entry["certified"] for entry in results])]
    for label, values in rows:
        table.add_row(label, *("-" if value is None else f"{value:.2%}" for value in values))
    return table


def check_table(entry: dict[str, Any]) -> Table:
    """One row a check: the verdict and its sentence."""
    table = Table(
        title=f"Signs that a number is fake, epsilon {entry['epsilon']:g}, on the first images",
        show_lines=True,
    )
    for column in ("check", "", "what was found"):
        table.add_column(column)
    for check in entry["checks"]:
        verdict = "[green]passed" if check["passed"] else "[red]failed"
        table.add_row(check["name"].replace("_", " "), verdict, escape(check["sentence"]))
    return table


def corruption_table(corruptions: dict[str, float], clean: float) -> Table:
    """One row a family."""
    table = Table(title="Accuracy on corrupted images (no part of the worst case)")
    table.add_column("family")
    table.add_column("accuracy", justify="right")
    for family, accuracy in ({"none": clean} | corruptions).items():
        table.add_row(family, f"{accuracy:.2%}")
    return table
