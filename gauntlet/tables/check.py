"""The end of a check: what was measured, what each gate says, and what became of the model."""

from rich.console import Console
from rich.markup import escape

from gauntlet.check.report import CheckReport
from gauntlet.tables.evaluation import print_evaluation
from gauntlet.tables.run import gate_table, lines_on, print_not_compared


def print_check(report: CheckReport, console: Console) -> None:
    """Print the tables of a check's report."""
    print_evaluation(report.evaluation, console)
    console.print(gate_table(report.gates, title="Gates"))
    print_not_compared(report.gates, console)
    print_outcome(report, console)


def print_in_short(report: CheckReport, console: Console) -> None:
    """What a reader must know of the model, and what became of it."""
    for note in report.evaluation.notes:
        console.print(f"[yellow]Note:[/] {escape(note)}", highlight=False, soft_wrap=True)
    print_outcome(report, console)


def print_outcome(report: CheckReport, console: Console) -> None:
    """What became of the model, and who refused it."""
    for sentence in report.result.undone:
        console.print(f"[red]Not finished:[/] {escape(sentence)}", highlight=False, soft_wrap=True)
    for gate in report.refusing:
        for line in lines_on(gate, report.result.examples_file):
            console.print(line, highlight=False, soft_wrap=True)
    colour = "green" if report.passed else "red"
    console.print(f"[{colour}]{escape(report.verdict)}[/]", highlight=False, soft_wrap=True)
