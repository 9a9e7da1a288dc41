"""The end of an evaluation: accuracies by stage, honesty checks, corruptions, where results are."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gauntlet.evaluation.report import Report, Result
from gauntlet.tables.sentence import in_words
from robustness.config import ThreatModel, shown_epsilon
from robustness.suites import shown

VERDICTS = {True: "[green]passed", False: "[red]failed", None: "[yellow]could not tell"}
"""How a check ended, in words."""


def print_evaluation(report: Report, console: Console) -> None:
    """Print the tables of an evaluation's report."""
    results = report.results
    console.print(evaluation_table(results))
    reasons = [entry.not_certified for entry in results if entry.not_certified]
    for reason in dict.fromkeys(reasons):
        console.print(f"[yellow]Not certified:[/] {escape(reason)}", highlight=False)
    if report.notes:  # which were told in full before anything was attacked
        count = len(report.notes)
        notes = "the note" if count == 1 else f"the {count} notes"
        console.print(f"[yellow]See {notes} on this model above.[/]", highlight=False)
    for entry in results:
        if entry.checks and not entry.gates:  # each check is a gate there
            console.print(check_table(entry))
    if report.corruptions:
        console.print(corruption_table(report.corruptions, results[0].clean))
    for entry in results:
        threat = ThreatModel(norm=entry.norm, epsilon=entry.epsilon)
        shares = (entry.clean, entry.worst_case, entry.certified)
        found = in_words(entry.examples, *shares, threat, entry.not_certified)
        console.print(escape(found), highlight=False, soft_wrap=True)
    seconds = sum(entry.seconds for entry in results)
    console.print(
        f"{seconds:.0f} s of judging; every image's verdict, results.json and curve.png are in "
        f"{escape(str(report.folder))}", highlight=False, soft_wrap=True,
    )  # fmt: skip


def evaluation_table(results: Sequence[Result]) -> Table:
    """One row a stage, one column an epsilon."""
    first = results[0]
    table = Table(title=f"{first.examples:,} images, {first.norm}, seed {first.seed}")
    table.add_column("epsilon")
    for entry in results:
        table.add_column(shown_epsilon(entry.epsilon), justify="right")
    rows: dict[str, list[float | None]] = {"clean": [entry.clean for entry in results]}
    for name in first.attacks:
        tried = shown(name, first.efforts[name])
        rows[f"left by {tried}"] = [entry.attacks[name] for entry in results]
    rows["[bold]worst case"] = [entry.worst_case for entry in results]
    for name in first.certified_by:
        rows[f"proven up to {name}"] = [entry.certified_by.get(name) for entry in results]
    rows["[bold]certified"] = [entry.certified for entry in results]
    for label, values in rows.items():
        table.add_row(label, *("-" if value is None else f"{value:.2%}" for value in values))
    return table


def check_table(entry: Result) -> Table:
    """One row a check: the verdict and its sentence."""
    table = Table(
        title=f"Signs that a number is fake, epsilon {shown_epsilon(entry.epsilon)}, on the first "
        "images",
        show_lines=True,
    )
    for column in ("check", "", "what was found"):
        table.add_column(column)
    for check in entry.checks:
        verdict = VERDICTS[check.passed]
        table.add_row(check.name.replace("_", " "), verdict, escape(check.sentence))
    return table


def corruption_table(corruptions: dict[str, float], clean: float | None) -> Table:
    """One row a family."""
    table = Table(title="Accuracy on corrupted images (no part of the worst case)")
    table.add_column("family")
    table.add_column("accuracy", justify="right")
    for family, accuracy in ({"none": clean} | corruptions).items():
        table.add_row(family, "-" if accuracy is None else f"{accuracy:.2%}")
    return table
